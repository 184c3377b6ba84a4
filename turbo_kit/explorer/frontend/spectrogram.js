// Sound: decoding a clip, and its log-mel spectrogram in cividis. The browser decodes; the rest is a small FFT.
// (Joined before widget.js by explorer/embedding_explorer.py.)

const RATE = 16000;
const WINDOW = 512; // samples of the FFT; 400 of them (25 ms) are heard
const HEARD = 400;
const BANDS = 64;
const RANGE = 70; // dB between the darkest and the lightest cell

// Nine stops of matplotlib's cividis.
const CIVIDIS = ["00224e", "1a386f", "434e6c", "61656f", "7d7c78", "9b9476", "bcae6c", "dec958", "fee838"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);

async function decoded(bytes) {
  // An offline context needs no permission to play, and resamples to its own rate.
  const context = new OfflineAudioContext(1, 1, RATE);
  const sound = await context.decodeAudioData(bytes.slice().buffer);
  return sound.getChannelData(0);
}

function drawSpectrogram(canvas, samples) {
  const columns = logMel(samples);
  const top = columns.reduce((most, column) => Math.max(most, ...column), -Infinity);
  const image = new ImageData(columns.length, BANDS);
  columns.forEach((column, x) =>
    column.forEach((level, band) => {
      const share = Math.min(1, Math.max(0, 1 + (level - top) / RANGE));
      image.data.set([...shade(share), 255], 4 * ((BANDS - 1 - band) * columns.length + x));
    }),
  );
  canvas.width = columns.length;
  canvas.height = BANDS;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// One array of BANDS levels (dB) every 10 ms, or less often where a clip is so long that nobody would see it.
function logMel(samples) {
  const hop = Math.max(RATE / 100, Math.ceil(samples.length / 800));
  const hann = Float32Array.from({ length: HEARD }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / HEARD));
  const filters = melFilters();
  const columns = [];
  for (let start = 0; start === 0 || start + HEARD <= samples.length; start += hop) {
    const real = new Float32Array(WINDOW);
    const imaginary = new Float32Array(WINDOW);
    for (let i = 0; i < HEARD; i++) real[i] = (samples[start + i] ?? 0) * hann[i];
    transform(real, imaginary);
    columns.push(
      filters.map((filter) => {
        let power = 1e-10;
        for (const [bin, weight] of filter) power += weight * (real[bin] ** 2 + imaginary[bin] ** 2);
        return 10 * Math.log10(power);
      }),
    );
  }
  return columns;
}

// Triangles that overlap by half, evenly spread over the mel scale from 0 Hz to half the rate: [bin, weight] each.
function melFilters() {
  const top = 2595 * Math.log10(1 + RATE / 2 / 700);
  const edge = (i) => ((700 * (10 ** ((top * i) / (BANDS + 1) / 2595) - 1)) / RATE) * WINDOW;
  return Array.from({ length: BANDS }, (_, band) => {
    const [low, middle, high] = [edge(band), edge(band + 1), edge(band + 2)];
    const filter = [];
    for (let bin = Math.ceil(low); bin <= Math.min(high, WINDOW / 2); bin++) {
      const weight = bin < middle ? (bin - low) / (middle - low) : (high - bin) / (high - middle);
      if (weight > 0) filter.push([bin, weight]);
    }
    // The lowest triangles are narrower than a bin: they take the nearest one.
    return filter.length ? filter : [[Math.round(middle), 1]];
  });
}

// Fourier transform in place (Cooley and Tukey 1965), for a power of two.
function transform(real, imaginary) {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j], real[i]];
      [imaginary[i], imaginary[j]] = [imaginary[j], imaginary[i]];
    }
  }
  for (let width = 2; width <= size; width *= 2) {
    const half = width / 2;
    for (let k = 0; k < half; k++) {
      const cosine = Math.cos((-2 * Math.PI * k) / width);
      const sine = Math.sin((-2 * Math.PI * k) / width);
      for (let i = k; i < size; i += width) {
        const x = real[i + half] * cosine - imaginary[i + half] * sine;
        const y = real[i + half] * sine + imaginary[i + half] * cosine;
        real[i + half] = real[i] - x;
        imaginary[i + half] = imaginary[i] - y;
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
}

function shade(share) {
  const at = share * (CIVIDIS.length - 1);
  const low = Math.min(Math.floor(at), CIVIDIS.length - 2);
  return CIVIDIS[low].map((from, i) => Math.round(from + (at - low) * (CIVIDIS[low + 1][i] - from)));
}

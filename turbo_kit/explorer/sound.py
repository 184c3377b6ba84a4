"""The audio of a clip in a format that browsers play."""

import io
from pathlib import Path

from turbo_kit.config import InputError

MEDIA_TYPES = {
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
}
"""Media types of files that browsers play; other formats are converted to WAV."""


def playable_audio(path: Path) -> tuple[str, bytes]:
    """The media type and the bytes of a clip, converted to WAV where browsers cannot play the file.

    Raises:
        InputError: the file holds no audio; a corpus may name any file, and only audio may get into a page.
    """
    import soundfile

    try:
        if path.suffix.lower() in MEDIA_TYPES:
            soundfile.info(path)
            return MEDIA_TYPES[path.suffix.lower()], path.read_bytes()
        samples, rate = soundfile.read(path)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, rate, format="WAV", subtype="PCM_16")
        return "audio/wav", buffer.getvalue()
    except (OSError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
        raise InputError(f"{path}: the audio file cannot be read ({error}): correct its path.") from error

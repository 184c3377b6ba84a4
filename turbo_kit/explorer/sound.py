"""The sound of a clip as a page plays it."""

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
"""Media types of the files that go to the browser as they are; others become WAV."""


def playable_audio(path: Path) -> tuple[str, bytes]:
    """A clip as its media type and the bytes of a file that browsers play.

    Raises:
        InputError: no file that holds sound: a corpus may name any file, and no other must get into a page.
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

"""How long a corpus of IEMOCAP's size takes to load: 10,039 turns in 151 dialogues, in its layout, with tiny sound.

    python tests/peers/iemocap_loading.py [--json FILE]

Each time is of a fresh process, without the import of the kit. There is no cache: every load reads all files. Then, for
comparison, the metadata as torchaudio reads them, which leaves out words, times and ratings.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from layouts import write_iemocap_size
from timing import arguments, keep

OURS = """
from turbo_kit import load_corpus
started = time.perf_counter()
found = len(load_corpus("iemocap:" + sys.argv[1] + "/IEMOCAP_full_release?classes=6"))
"""
PEER = """
from torchaudio.datasets import IEMOCAP
started = time.perf_counter()
peer = IEMOCAP(sys.argv[1])
found = len([peer.get_metadata(i) for i in range(len(peer))])
"""
TELL = "print(found, time.perf_counter() - started)"


def timed(program: str, folder: Path) -> float:
    command = [sys.executable, "-c", f"import sys, time\n{program}{TELL}", str(folder)]
    found, seconds = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    if int(found) != 7380:
        raise SystemExit(f"{found} turns of six classes were found, and 7380 are there.")
    return float(seconds)


def main() -> None:
    parser = arguments(__doc__)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_iemocap_size(folder)
        (folder / "IEMOCAP").symlink_to(folder / "IEMOCAP_full_release")
        figures = {
            "first": timed(OURS, folder),
            "second": timed(OURS, folder),
            "third": timed(OURS, folder),
            "torchaudio": timed(PEER, folder),
        }
    print(", ".join(f"{what} {seconds:.2f} s" for what, seconds in figures.items()))
    keep(figures, options.json)


if __name__ == "__main__":
    main()

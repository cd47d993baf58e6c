"""scripts.prefetch with a manifest of the test's own:  python -m tests.pipeline.toy.prefetch MANIFEST.toml [options]

At the end it says on stderr how much memory it took.
"""

import sys
from pathlib import Path

from nanochat.pipeline import manifest
from scripts import prefetch

if __name__ == "__main__":
    manifest.FILE = Path(sys.argv[1])
    code = prefetch.main(sys.argv[2:])
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(f"peak memory: {int(peak.split()[1]) / 1024:.0f} MB", file=sys.stderr)
    raise SystemExit(code)

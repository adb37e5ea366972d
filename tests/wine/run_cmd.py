"""Runs a command line of Windows' cmd with a PATH and streams of a test's own. Called in a Windows Python, with JSON.

Takes {"line", "folder", "path", "variables", "answer"}; prints what was written, and ends as the command line did.
"""

import json
import os
import subprocess
import sys

wishes = json.loads(sys.argv[1])
system = os.path.join(os.environ["SYSTEMROOT"], "System32")  # noqa: PTH118 - Windows' own spelling
variables = {**os.environ, **wishes["variables"], "FAKE_PROGRAMS_PYTHON": sys.executable}
variables["PATH"] = os.pathsep.join([*wishes["path"], system])
done = subprocess.run(
    wishes["line"],
    cwd=wishes["folder"],
    env=variables,
    input=wishes["answer"].encode(),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)

"""Run a command line of Windows' cmd with a given PATH and stdin. Runs in the Windows Python.

The argument is a JSON object {"line", "folder", "path", "variables", "answer"}. Prints the output, and exits with the status of
the command line.
"""

import json
import os
import subprocess
import sys

call = json.loads(sys.argv[1])
system = os.path.join(os.environ["SYSTEMROOT"], "System32")  # noqa: PTH118 - Windows' own spelling
variables = {**os.environ, **call["variables"], "FAKE_PROGRAMS_PYTHON": sys.executable}
variables["PATH"] = os.pathsep.join([*call["path"], system])
done = subprocess.run(
    call["line"],
    cwd=call["folder"],
    env=variables,
    input=call["answer"].encode(),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
)
sys.stdout.buffer.write(done.stdout)
sys.exit(done.returncode)

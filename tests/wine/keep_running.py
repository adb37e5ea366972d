"""A doctor that is killed while a program that it started hangs, so that its own cleanup does not run.

`keep_running.py PROGRAM NOTE` starts such a doctor, writes the note when it has ended, and stays for a while, so that the
end of its own job does not end the program.
"""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from doctor.host.live import live_host

if len(sys.argv) > 2:
    subprocess.run([sys.executable, __file__, sys.argv[1]])
    Path(sys.argv[2]).touch()
    time.sleep(5)
else:
    threading.Thread(target=lambda: live_host().run([sys.argv[1]], 600), daemon=True).start()
    time.sleep(3)
    os._exit(0)

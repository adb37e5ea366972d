"""A doctor that is ended by force while a program of its own hangs: nothing that is to be done at its end is done.

`keep_running.py PROGRAM NOTE` starts one, writes the note when it has ended, and stays for a while: in whose job it runs
must not end the program in its place.
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

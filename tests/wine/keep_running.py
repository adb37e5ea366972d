"""Has the host run a program that hangs, and ends by force meanwhile: nothing that is to be done at the end is done."""

import os
import sys
import threading

from doctor.host.live import live_host

threading.Thread(target=lambda: live_host().run([sys.argv[1]], 600), daemon=True).start()
threading.Event().wait(3)
os._exit(0)

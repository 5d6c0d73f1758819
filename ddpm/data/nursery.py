"""Imported first by the process that workers are forked from: what it loads is no garbage, and it ends at once.

Python would look through all of torch for garbage again and again while it loads, and take half a second to clear it
away when nobody needs this process any more; whoever reads the output of the command waits for that.
"""

import atexit
import gc
import os

gc.disable()  # workers enable it
# there is a process for every core; libraries read this when they are loaded, and start no threads then
os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
atexit.register(os._exit, 0)

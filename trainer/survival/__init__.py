"""How a run outlives what happens to it: kills, full disks, too little memory, a second run, a wish to stop."""

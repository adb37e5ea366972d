"""Protecting a run from crashes, full disks, too little memory and a second run in the same folder."""

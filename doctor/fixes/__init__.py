"""Fixes carried out: planned, journalled, applied, verified and undone; with administrator rights where they need them."""

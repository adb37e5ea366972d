"""Looks wheels up: in the catalogue, in a package index, in a folder, and in the publishers' current release lists."""

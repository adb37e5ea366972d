"""The probes, one subject per file: each collects facts from a host and judges nothing."""

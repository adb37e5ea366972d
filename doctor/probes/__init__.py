"""What the doctor looks at, one subject a file: each probe turns what a host answers into facts, and judges nothing."""

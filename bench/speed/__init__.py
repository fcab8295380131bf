"""The speed bench: what an answer costs Runnel, beside references measured in the same run."""

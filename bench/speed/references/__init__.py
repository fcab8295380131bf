"""What Runnel is compared with: each a small server of its own, started as a program."""

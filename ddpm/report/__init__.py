"""Reports: plain data in, one self-contained HTML page out. No torch, no script, no network, no clock."""

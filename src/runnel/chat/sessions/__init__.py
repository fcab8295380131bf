"""Sessions as people use them: listed, searched, branched, closed, exported, cleaned up."""

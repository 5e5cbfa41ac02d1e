"""Many runs: strategies compared on equal terms, with honest statistics, and searches through configurations."""

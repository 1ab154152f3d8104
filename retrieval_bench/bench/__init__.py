"""Many runs, their results and the tables made from them. Knows result files and configs, never a method's inside."""

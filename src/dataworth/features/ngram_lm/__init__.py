"""N-gram language models: fitted by modified Kneser-Ney smoothing, written as ARPA, and scoring."""

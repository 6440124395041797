"""The daily analysis of the audit trails: what was unusual, what operators must know, and whether the trails are whole."""

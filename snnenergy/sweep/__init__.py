"""Many configurations of models, counted once each and priced on any chip: `snnenergy sweep`.

    settings    sweep.yaml: models, and the axes that are varied
    points      every combination of them, and the digest that says which count a point needs
    sources     digests of code and files, read and never run
    store       a folder of Counts by digest, and of what failed
    worker      one point counted: the only file here that reaches for torch, in a process of its own
    words       errors of a point, its options named as keys of the file
    pool        worker processes, and what becomes of those that die
    front       which of two costs nothing beats
    results     stored Counts on chips: one row for each point and chip, and which of them nothing beats

Counts know no chip, so another chip never counts a point again.
"""

"""Tables from the journal, witnesses, rings with damaged slots."""

"""Small pieces of arithmetic in plain torch: the chunked loss, NEFTune's noise, the check that packs are isolated."""

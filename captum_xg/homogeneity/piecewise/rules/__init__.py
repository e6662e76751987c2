"""Operations that are affine, or affine in pieces, one family each."""

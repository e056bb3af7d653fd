"""Operations without effect on device state, as the native data lane runs them."""

"""The rings as Python sees them: the engine's typed face, the private slots, and the lane of stateful requests.

Rules. The engine owns no descriptor that it was given, and raises PeerError for what a guest or a front-end did wrong,
CallerError for what we did wrong. One thread calls it. Nothing of a batch is published before its commit (I1); that
order lives in `state_lane` and, for batches that stay in C, in device/native/engine.

Warning. A guest writes its memory while we read it: what was checked once is copied, never read a second time (I6).
"""

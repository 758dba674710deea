import cv2
import pytest
from threadpoolctl import threadpool_limits

from hpacells.core.threads import keep_library_threads, library_threads


@pytest.fixture
def many(blas_threads):
    """Libraries that would take several threads."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    with threadpool_limits(limits=2, user_api="blas"):
        assert blas_threads() == {2}
        yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("many")
def test_threads_are_limited_within_the_block_and_given_back_after_it(blas_threads):
    with library_threads(2):
        assert (blas_threads(), cv2.getNumThreads()) == ({1}, 2)
    assert (blas_threads(), cv2.getNumThreads()) == ({2}, 3)
    with pytest.raises(ValueError, match="three"), library_threads():
        raise ValueError("three")
    assert (blas_threads(), cv2.getNumThreads()) == ({2}, 3)


@pytest.mark.usefixtures("many")
def test_a_worker_keeps_them_limited(blas_threads):
    limits = keep_library_threads()
    assert (blas_threads(), cv2.getNumThreads()) == ({1}, 1)
    limits.restore_original_limits()

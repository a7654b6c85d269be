"""Reading mammograms and cutting lesions out of them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from maninegs_sampling.errors import InvalidValueError

CONTEXT = 1.5  # side of a crop, in sides of the lesion's bounding box
SMALLEST = 256  # pixels of the mammogram that a crop shows at least


def read_image(path: Path) -> NDArray[np.float32]:
    """Return a gray image, (height, width), scaled to [0, 1] by the range of its type.

    Args:
        path: DICOM (.dcm), or anything that Pillow reads.

    Raises:
        InvalidValueError: the file cannot be read, with its name.
    """
    try:
        if path.suffix.lower() == ".dcm":
            from pydicom import dcmread

            data = dcmread(path)
            pixels, largest = data.pixel_array, 2 ** int(data.BitsStored) - 1
            if data.PhotometricInterpretation == "MONOCHROME1":
                pixels = largest - pixels
        else:
            with Image.open(path) as image:
                gray = image if image.mode.startswith(("I", "F")) else image.convert("L")
                pixels, largest = np.asarray(gray), 255 if gray.mode == "L" else 65535
    except Exception as error:
        raise InvalidValueError(f"{path} cannot be read as an image: {error}") from error
    scaled: NDArray[np.float32] = np.asarray(pixels, np.float32) / largest
    return scaled


def square(image: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return an image padded with black to a square and resized, (size, size)."""
    height, width = image.shape
    side = max(height, width)
    padded = np.zeros((side, side), np.float32)
    top, left = (side - height) // 2, (side - width) // 2
    padded[top : top + height, left : left + width] = image
    resized = Image.fromarray(padded).resize((size, size), Image.Resampling.BICUBIC)
    return np.round(255 * np.clip(np.asarray(resized), 0, 1)).astype(np.uint8)


def around_lesion(image: NDArray[np.float32], mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the square around a mask's bounding box with context, black beyond the image.

    Args:
        image: gray values in [0, 1].
        mask: above 1/2 at the lesion; of any size, taken to cover the whole image.

    Raises:
        InvalidValueError: the mask is empty.
    """
    rows, columns = (np.flatnonzero((mask > 0.5).any(axis)) for axis in (1, 0))
    if not len(rows):
        raise InvalidValueError("the mask is empty")
    scale = np.array(image.shape) / mask.shape
    low = np.array([rows[0], columns[0]]) * scale
    high = np.array([rows[-1] + 1, columns[-1] + 1]) * scale
    side = int(max(CONTEXT * (high - low).max(), min(SMALLEST, *image.shape)))
    start = np.round((low + high - side) / 2).astype(int)
    crop = np.zeros((side, side), np.float32)
    first = np.maximum(start, 0)
    last = np.minimum(start + side, image.shape)
    inside = image[first[0] : last[0], first[1] : last[1]]
    place = first - start
    crop[place[0] : place[0] + inside.shape[0], place[1] : place[1] + inside.shape[1]] = inside
    return crop

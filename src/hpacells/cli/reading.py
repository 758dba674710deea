"""What the commands that read images say of them."""

__all__ = ["BIT_DEPTH_HELP", "CHANNELS_HELP", "IMAGES_HELP"]

IMAGES_HELP = (
    "Folder of quadruplets, dataset folder, file or folder of several stains (OME-TIFF, OME-Zarr, "
    "CZI, LIF, ND2), or CSV manifest."
)

CHANNELS_HELP = (
    "Which channel is which stain in files of several, by name or by number from 1: "
    "red=Tubulin,green=GFP,blue=DAPI,yellow=4. Default: channels named by colour or role."
)

BIT_DEPTH_HELP = (
    "Bits of the grey values in 16-bit files, 8-16. Default: as tables and files say, else 12 when "
    "no value of the fields looked at is above 4095, else 16."
)

"""Descriptions (``DESCR``) of the data sets: content, splits, source, licence, citation."""

__all__ = ["CELEBA", "CIFAR10", "FIVE_CHARACTERS", "MNIST", "OMNIGLOT"]

MNIST = """\
MNIST handwritten digits
========================

70,000 grey images of 28 × 28 pixels, one digit each; 60,000 are for training and 10,000 for
testing, written by different people. Ink is 255, paper 0.

Splits
    "standard" is the official one. "wae" is that of the reference code of Wasserstein
    autoencoders (Tolstikhin et al., 2018), whose settings the VIMAE paper adopts: all images
    pooled, training set first, shuffled by numpy.random.shuffle after numpy.random.seed(123), the
    last 10,000 for testing. NumPy has kept that generator as it was, so the rows are the same.
    The paper itself names no split.

Source
    Y. LeCun, C. Cortes and C. J. C. Burges, from data of NIST; yann.lecun.com/exdb/mnist

Licence
    The files carry none. CC BY-SA 3.0 is often given, without a source that could be checked.

Citation
    Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998). Gradient-based learning applied to
    document recognition. Proceedings of the IEEE 86(11), 2278-2324.
"""

CIFAR10 = """\
CIFAR-10
========

60,000 colour photographs of 32 × 32 pixels in ten classes of equal size; 50,000 are for training
and 10,000 for testing. The classes exclude each other.

Splits
    "standard" is the official one. "wae" is that of the reference code of Wasserstein
    autoencoders (Tolstikhin et al., 2018), whose settings the VIMAE paper adopts: all images
    pooled, training set first, shuffled by numpy.random.shuffle after numpy.random.seed(123), the
    last 1,000 for testing. NumPy has kept that generator as it was, so the rows are the same.
    The paper itself names no split.

Source
    A. Krizhevsky, V. Nair and G. Hinton, a labelled part of the Tiny Images collection;
    www.cs.toronto.edu/~kriz/cifar.html

Licence
    None is stated. The authors ask for the citation below.

Citation
    A. Krizhevsky (2009). Learning multiple layers of features from tiny images. Technical report,
    University of Toronto.
"""

OMNIGLOT = """\
Omniglot
========

1,623 characters of 50 alphabets, each drawn online by 20 people: 32,460 drawings of 105 × 105
black or white pixels. The background set (training) holds 964 characters of 30 alphabets, the
evaluation set (testing) 659 characters of 20 others. No alphabet is in both.

Ink is 255, paper 0. Smaller images are averages over equal areas, and so grey. They are not the
28 × 28 images of the file chardata.mat, which some papers use with a split of their own (24,345
and 8,070 drawings): results on one cannot be compared with results on the other.

Source
    B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum; github.com/brendenlake/omniglot

Licence
    MIT, copyright 2015 Brenden Lake.

Citation
    B. M. Lake, R. Salakhutdinov and J. B. Tenenbaum (2015). Human-level concept learning through
    probabilistic program induction. Science 350(6266), 1332-1338.
"""

FIVE_CHARACTERS = """\
The task of five characters
---------------------------

The VIMAE paper (Crescimanna and Graham, 2019) classifies five characters, 60 images each for
training and 20 for testing, because the alphabets of the test set are not seen in training. It
does not say which characters these are, nor how 80 images come from the 20 drawings that exist of
each. Here

- the five are drawn at random from all 659 characters of the evaluation set (random_state);
- each drawing is turned by 0, 90, 180 and 270 degrees, which makes 80 images a character;
- 15 drawings of each character, drawn at random, are for training and 5 for testing, so that no
  drawing is on both sides in another rotation.

Figures of the paper can therefore be compared in kind and not digit by digit.
"""

CELEBA = """\
CelebA, aligned and cropped
===========================

202,599 photographs of 10,177 celebrities, aligned by their eyes, with 40 attributes each. Of the
178 × 218 pixels the central 140 × 140 are kept and resized to 64 × 64 with Lanczos' filter, which
is the close crop of DCGAN and of the Wasserstein autoencoders. Decoders of JPEG differ in the last
bit, so the values may too, from one version of Pillow to another.

Splits
    "standard" is the official one: 162,770 for training, 19,867 for validation (in "all" only;
    partition is 1) and 19,962 for testing. "wae" is that of the reference code of Wasserstein
    autoencoders (Tolstikhin et al., 2018), whose settings the VIMAE paper adopts: all images
    shuffled by random.shuffle of Python 2 after random.seed(123), the last 20,000 for testing;
    that order is computed here without Python 2. The paper itself names no split.

Source
    Z. Liu, P. Luo, X. Wang and X. Tang, Multimedia Laboratory, The Chinese University of Hong
    Kong; mmlab.ie.cuhk.edu.hk/projects/CelebA.html

Licence
    For non-commercial research only, after agreeing to its terms. The images may not be passed
    on, so skvim never downloads them.

Citation
    Z. Liu, P. Luo, X. Wang and X. Tang (2015). Deep learning face attributes in the wild. IEEE
    International Conference on Computer Vision.
"""

"""The words that names of parameters are made of, by what they say.

`phrases` are up to four words in a row, separated by commas; `words` are single ones.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache

__all__ = ["find", "holds", "locate", "tokens"]

_TOKEN = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[^\W\d_]+|\d+")
_RUN_TOGETHER = re.compile(
    r"(?i:learning|learn|rate|step|batch|weight)(?=(?i:rate|size|decay))|[Ll]ernraten?|学习率|学習率|學習率|학습률"
)
"""Words that people write without a space between them and the next."""
LONGEST_PHRASE = 4
MOST_CACHED = 65536
"""Names are looked at once for every other name."""


@lru_cache(maxsize=MOST_CACHED)
def tokens(name: str) -> tuple[str, ...]:
    """Split a name at punctuation, capitals and digits.

    >>> tokens("optim.headLR_0")
    ('optim', 'head', 'lr', '0')
    >>> tokens("stepsize")
    ('step', 'size')
    """
    return tuple(token.lower() for token in _TOKEN.findall(_RUN_TOGETHER.sub(r" \g<0> ", name)))


def holds(words: tuple[str, ...], phrase: str) -> tuple[str, ...] | None:
    """The other words if the words of the phrase follow one another, else None.

    >>> holds(("xgb", "max", "depth"), "max depth")
    ('xgb',)
    """
    sought = tokens(phrase)
    for start in range(len(words) - len(sought) + 1):
        if words[start : start + len(sought)] == sought:
            return words[:start] + words[start + len(sought) :]
    return None


def locate(words: tuple[str, ...], phrases: Collection[str], last: bool = False) -> tuple[int, str] | None:
    """The first or last phrase that the words hold and its place: the longest of those that begin there.

    >>> locate(("xgb", "max", "depth"), {"depth", "max depth"})
    (1, 'max depth')
    """
    places = range(len(words))
    for start in reversed(places) if last else places:
        for length in range(LONGEST_PHRASE, 0, -1):
            phrase = " ".join(words[start : start + length])
            if phrase in phrases:
                return start, phrase
    return None


@lru_cache(maxsize=MOST_CACHED)
def find(words: tuple[str, ...], phrases: frozenset[str] | tuple[str, ...]) -> str | None:
    """The first phrase that the words hold, see `locate`."""
    found = locate(words, phrases)
    return None if found is None else found[1]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(tokens(phrase)) for phrase in text.split(","))


# What is called a learning rate, in several languages.
RATE = _phrases(
    """l rate, learn rate, learning rate, learning rates, leersnelheid, lern rate, lernrate, lernraten,
    lr, lrate, lrn rate, lrnrate, lrs, ogrenme orani, tasa aprendizaje, tasa de aprendizaje, tasso
    apprendimento, tasso di apprendimento, taux apprentissage, taux d apprentissage, taxa aprendizado,
    taxa aprendizagem, taxa de aprendizado, taxa de aprendizagem, скорость обучения,
    学习率, 学習率, 學習率, 학습률"""
)
SHORT = ("lr", "lrs")
"""Also logistic or linear regression, left and right, low resolution, a likelihood ratio."""
# What is called so by some and is something else to most.
VAGUE_RATE = _phrases("eta, eta 0, alpha 0, adam alpha, blr, step size")

SCHEDULE = _words(
    "abfall anneal annealing cooldown cosine cycle cycles cyclic cyclical decay decayed decays drop drops "
    "finder gamma milestone milestones patience plan plateau poly ramp reduce restart restarts rlrop rop "
    "sched schedule scheduler schedulers schedules warm warmup 衰减 衰減 调度 预热"
)
# Of a schedule if they stand with a learning rate: alone, an indicator's or a switch's.
SCHEDULE_OF_A_RATE = _words(
    "epoch epochs freq frequency interval mode period policy power step steps strategy threshold type "
    "update use"
)
MULTIPLIER = _words("coef coeff factor frac fraction mul mult multiplier ratio scale scaling")
LAYERS = _words("layer layers layerwise llrd")
# Schedules that do not say what they schedule.
SCHEDULE_ALONE = _phrases(
    """anneal strategy, clr mode, cooldown epochs, cooldown frac, cooldown fraction, cooldown ratio,
    cooldown steps, cycle len, cycle length, cycle mult, div factor, div final, eta min, lrf, n cycles,
    num cycles, pct start, plateau, poly power, sched, scheduler, solver gamma, solver steps, step size
    down, step size up, t 0, t max, t mult, tmax, warmdown"""
)
SCHEDULER = _phrases("scheduler, sched, lr schedule, learning rate schedule, plateau")
# What else is warmed up or scheduled.
OTHER_SCHEDULES = _words(
    "adv adversarial beta ddim ddpm diffusion dropout ema kl lambda loss mask mcmc mixup momentum noise "
    "sampler sampling tau teacher temp temperature wd"
)
OTHER_SCHEDULERS = _words("asha ddim ddpm dpm euler fair fifo hyperband pbt pndm slurm")
"""Choices that schedule trials, jobs or noise."""
# All that the warm-up of a learning rate may be called besides.
WARMUP = _words(
    "args batch batches cfg config cosine duration enable end epoch epochs factor frac fraction hp "
    "hparams init initial iter iteration iterations iters kind length linear lr model n noam num number of "
    "optim optimization optimizer optimizers param params pct percent percentage period portion "
    "proportion rate ratio sched schedule scheduler solver start step steps token tokens train trainer "
    "training type up update updates use warm warmup"
)

EXPONENT = _words("exp exponent ln log neglog nlog pow")
NEGATED = _words("minus neg negative neglog nlog")

# Beside 'lr' these say that it is one model among others, or not about learning at all.
LOGISTIC = _phrases("penalty, solver, tol, intercept, fit intercept, max iter, l1, l1 ratio, class weight")
MODELS = _words(
    "ada adaboost arima bayes cart cat catboost dt elastic enet et ets extratrees forest gb gbc gbdt "
    "gbm gbr gnb hgb knn knr lasso lda lgb lgbm lightgbm mnb naive nb qda rf ridge "
    "sarima svc svm svr tree xgb xgboost"
)
PLAIN_MODELS = _words(
    "catboost dt gbdt gbm gnb knn lasso lgb lgbm lightgbm nb rf ridge svc svm svr xgb xgboost"
)
"""Those of the models whose names mean nothing else."""
WEIGHTS = _words("blend w weight weights wt")
IMAGES = _words("blur crop flip flipud mirror pad padding resolution shift")
ATTRIBUTES = _words(
    "cutoff dim dropout gain height image img len length lookback margin offset patch rank size slope "
    "std test width window"
)
"""`lr_rank` is the rank of something called lr, `lr_encoder` the rate of an encoder."""

# Behind the rate they name a quantity of its own, or arithmetic: ``lr_eps``, ``lr_times_wd``.
QUANTITIES = _words(
    "by cap change clip clipping delta dropout eps epsilon jitter limit momentum noise over plus reg "
    "regularization smoothing times tol tolerance var variance wd"
)
# Rates that code applies by itself as often as a torch optimizer does.
BY_HAND = _words(
    "adapt adaptation adv adversarial attack attacker ema fast inner langevin natgrad natural ngd "
    "perturb perturbation pgd polyak server sgld swa ttt"
)
OTHER_FRAMEWORKS = _words(
    "chainer equinox flax haiku jax keras linen mlx mxnet nnx optax paddle tensorflow thinc"
)

BOOSTERS = _words(
    "adaboost boost boosting catboost gbc gbdt gbm gbr gbrt hgb histgb lgb lgbm lightgbm ngboost xgb xgboost"
)
SHORT_BOOSTERS = _words("ada cat cb ebm forest gb hist lg tree trees xg")
"""Beside parameters of trees they say that the rate is the trees' own."""

TREES = _phrases(
    """bag fraction, bagging fraction, bagging freq, bagging temperature, boost rounds, booster,
    boosting, boosting type, bootstrap type, border count, by tree, ccp alpha, col sample rate,
    colsample, colsample bylevel, colsample bynode, colsample bytree, estimators, extra trees, feature
    fraction, goss, grow policy, interaction depth, l2 leaf reg, lambda l1, lambda l2, leaf, leaves, max
    bin, max bins, max d, max delta step, max depth, max leaf nodes, max leaves, mcw, min child samples,
    min child weight, min data in leaf, min gain to split, min impurity decrease, min samples leaf, min
    samples split, min split gain, minibatch frac, n est, n estimators, n rounds, n trees, nround,
    nrounds, ntree, ntrees, num boost round, num leaves, num round, num rounds, num trees, od wait, one
    hot max size, outer bags, random strength, rate drop, reg alpha, reg lambda, rsm, scale pos weight,
    skip drop, subsampling rate, top rate, tree method"""
)
SOMETIMES_TREES = _phrases(
    """alpha, depth, early stopping rounds, iterations, l2, l2 regularization, lambda, max features, max
    iter, n iter, sample rate, subsample, tree, trees"""
)
"""Of boosted trees in company, but other models have them too."""

NETWORK = _phrases(
    """activation, activations, adam, adamw, att, attention, attn, aug, augmentation, autoencoder, b1,
    b2, backbone, batch, batches, batchnorm, bert, beta1, beta2, betas, blocks, bs, channels, clip, cnn,
    conv, convs, d model, decoder, dense, discriminator, drop path, dropedge, dropout, dropouts, emb,
    embed, embedding, embeddings, encoder, epochs, fc, ffn, filters, freeze, generator, grad, gradient,
    gradient clip val, gru, heads, hid, hidden, hiddens, inducing, input size, kernel size, label
    smoothing, latent, layer, layers, lora, lstm, max epochs, max seq length, mixup, mlp, module,
    momentum, negative slope, net, neurons, nn, norm, num layers, optim, optimiser, optimizer, pooling,
    residual, rnn, seq len, seq length, sequence length, swa, timesteps, transformer, unfreeze, units,
    vit, wd, weight decay, width, windows batch size"""
)
"""Parameters of networks and of their training."""

REINFORCEMENT = _phrases(
    """actor, buffer size, clip range, clip ratio, critic, ent coef, entropy coef, exploration fraction,
    gae, gae lambda, gradient steps, learning starts, n critic, n envs, n steps, policy, policy delay,
    qf, replay, replay size, rollout, target entropy, target update, target update interval, tau, train
    freq, vf, vf coef"""
)
AGENT = _phrases("discount, discount factor, epsilon, epsilon decay, eps start, eps end, eps decay")
"""Of agents if they are the whole name."""
SCHEDULE_NAMES = _words(
    "anneal annealing const constant cos cosine cycle cyclic decay exp exponential inverse invsqrt "
    "linear multistep none off on one onecycle plateau poly polynomial reduce sqrt step steplr warmup"
)
"""Choices that are schedules."""

# Of models that are no networks, or that nobody trains with torch.
OTHER_MODELS = _phrases(
    """bit precision, cooling rate, crossover rate, factors, generations, input scaling, leak rate,
    leaking rate, lookback, max features, maxn, min alpha, min dist, minn, mutation rate, n components,
    n factors, n neighbors, no components, perplexity, pop size, population, power t, reg all,
    regularization, ridge, spectral radius, sr, vector size, word ngrams"""
)
SURELY_OTHER = {
    "word ngrams": "fastText",
    "minn": "fastText",
    "spectral radius": "a reservoir's leak",
    "input scaling": "a reservoir's leak",
    "perplexity": "t-SNE",
    "min dist": "UMAP",
    "min alpha": "word2vec",
    "no components": "LightFM",
    "reg all": "Surprise",
}
"""Phrase of a parameter beside a rate to whose rate it is."""

PARTS = _words(
    "actor adadelta adafactor adagrad agent bias body classifier client cls crf critic d dec decoder "
    "disc discriminator embedding enc encoder feat feature features g gen generator gp head heads "
    "inducing lamb lars lbfgs lion local meta model muon nadam net network outer pi policy pretrain "
    "projector prompt q qf radam rmsprop rprop sgd stage student teacher text trunk value vf vision"
)
"""Parts of networks and optimizers of which a rate is named."""
FLOORS = _words("end final floor min minimum stop")
"""Where a schedule ends: of no optimizer if another rate is its beginning."""
PLACES = _words("base end final high init initial low max min peak start")
"""Which one of several rates it is."""

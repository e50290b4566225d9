"""The backward pass of a layer that is computed for all tokens at one time, moment by moment. Closed formulas; letters as in `kept`.

Where layers are checkpointed each is first computed again. transformers does that when the last operation of a layer asks for
what it kept, so that the gradient of the layer's output has been multiplied by then; and it stops with the last number that is
wanted, so that what comes after is not computed. `xtune.kernels.shelved` computes the whole layer, and keeps its output to the
end.
"""

from dataclasses import replace

from xtune.memory.layer import Layer
from xtune.memory.moments import Moment, more


class WholeLayer(Layer):
    """The widest layer of a model, computed for all tokens at one time."""

    def moments(self) -> tuple[Moment, ...]:
        """The moments of the backward pass, without the layer's input: the first to come first.

        Autocast's copies of what is float32 are there until they are used.
        """
        before = self.first_half + self.heads + self.output_copy + self.low_rank + self.after
        before += self.dropped
        back = self.feed_forward_moments(before)
        with_scores = (
            *self._after_feed_forward(before),
            *back,
            *self.with_dropped_gradient(back),
            *(() if self.shares_norm else (self._between(before),)),
        )
        held = self.output * self.h if self.work.is_shelved else 0
        # the gradient that the layer was given stays too, and while attention goes back there is its sum with the block's
        given = self.w * self.h if self.work.is_shelved and not self.shares_norm else 0
        # of a layer that is not computed again what is kept of its input is no checkpoint
        held += 0 if self.work.gradient_checkpointing else self.own_input
        every = (
            *(more(each, fixed=self._scores) for each in self._again(before)),
            *(more(each, per_token=held, fixed=self._scores) for each in with_scores),
            *(more(each, per_token=held + given) for each in self._attention_moments()),
        )
        fixed = self._mask + self.matrices(*self._attention, *self._feed_forward)
        return tuple(more(each, fixed=fixed + self._cast(each.graded)) for each in every)

    # the layer computed again, up to what its feed-forward block gives

    def _again(self, before: int) -> tuple[Moment, ...]:
        """When the last linear layer has read the product of gate and up, and gives what it gives.

        Gate, up, activation and product (4 c m) exist, and where an adapter casts its input the product in float32 and back
        (4 m + c m). Beside them what the base gave (c h), which is cloned in 4 bits (c h), and the adapter (2 c h), the
        state between the halves, unless its norm keeps it, and the normalised one, unless it is read as it is (w h each).
        """
        work, c, h, m = self.work, self.c, self.h, self.width
        if self.sparse:
            return self._experts_again(before)
        if work.is_full and not self.dropped:
            return ()
        kept = before + self.second_half + self._around + self._beside
        copies = work.casts_inputs and self._is_adapted(self._feed_forward[-1])
        widths = 4 * c * m + ((4 + c) * m if copies else 0) + self._dropped
        if self.ungated is not None:
            widths = self.ungated.reading
            # a full fine-tune keeps the product itself, unless it is cast
            shares = work.is_full and self.ungated.product == c
            widths += 0 if shares else self._copied_by_last
        clone = c * h if work.quantization in {"nf4", "fp4"} else 0
        # when an adapter drops some of what it reads what was cloned is gone
        early = 0 if work.dropout else clone
        adapter = early if self._stops_early else 2 * c * h
        moment = Moment(per_token=kept + widths + c * h + adapter)
        if not work.quantization:
            return (moment,)
        down = self.c * self._feed_forward[-1].weights
        before_it = widths - self._dropped  # the base comes before its adapter
        return moment, Moment(per_token=kept + before_it + c * h, fixed=down)

    def _experts_again(self, before: int) -> tuple[Moment, ...]:
        """The same of experts: what visits read, which nothing keeps of frozen ones, and gave, times their routes; and the gradient of that.

        Beside them there are the hidden states between the halves, and the normalised ones where nothing keeps these.
        """
        if not self.work.gradient_checkpointing:
            return ()
        block, h = self.block, self.h
        routes = block.route_bytes
        visits = (0 if block.reads_visits else self.e) + 2 * routes
        states = self.read_states + (0 if block.reads else self.w * h)
        each = before + self.second_half + self._around + states + block.routed
        each += 0 if block.shared.comes_last else block.shared.kept
        return (Moment(per_token=each + visits * h * block.s, fixed=self.experts + self.factors),)

    @property
    def _beside(self) -> int:
        """Of the hidden states when the block is computed again: those that nothing keeps, and the gradient once more.

        transformers has begun to go back by then. It has the gradient times the adapter's factor (c h), or before a last norm the
        float32 gradient (4 h).
        """
        work, c, h, w = self.work, self.c, self.h, self.w
        states = self.read_states
        if not work.gradient_checkpointing or work.is_shelved:
            return states
        if self.shape.norms_after:
            return states + (4 * h if w < 4 else 0)
        return states if self.dropped else states + c * h

    @property
    def _dropped(self) -> int:
        """Of the product that an adapter drops some of: what says so, and what is left, which it casts or not."""
        each = self._masks(self._feed_forward[-1])
        return each + each * (4 if self.work.casts_inputs else self.c)

    @property
    def _around(self) -> int:
        """The gradient of the layer's output; in a forward pass that is the only one, its input and what the embedding gave."""
        if self.work.gradient_checkpointing:
            return self._gradient
        return (self.w + self.work.weight_bytes) * self.h

    @property
    def _stops_early(self) -> bool:
        """Whether nothing behind the last linear layer is wanted, so that it is not computed to its end."""
        work = self.work
        again = work.gradient_checkpointing and not work.is_shelved
        return again and not self.shape.norms_after and not self.dropped

    @property
    def _gradient(self) -> int:
        """The gradient of the layer's output, and once more where what a block gives is scaled."""
        return self.w * self.h + self._scaled_gradient

    # going back

    @property
    def _given_by_block(self) -> int:
        """Of what one norm gave to both the gradient that the feed-forward block gave, while attention goes back."""
        return self.input * self.h if self.shares_norm else 0

    def feed_forward_moments(self, before: int) -> tuple[Moment, ...]:
        """Of the block, with so much a token kept before it.

        Going back through the last layer there are gate, activation, up and product and the gradient of the product (5 c m), when
        its matrix is expanded, or has its own gradient; then in place of the product the gradients of activation and up, or the
        base's and the adapter's (6 c m). Where gate and up are one layer its matrix is the larger one, beside the gradients of what
        it gave; and computed again there are what its base and its adapter gave and their sum, both halves of each (6 c m).
        """
        c, h, m = self.c, self.h, self.width
        kept = before + self.second_half + self._gradient
        if self.sparse:
            return self.block.moments(kept, self.factors)
        last = self._feed_forward[-1]
        aside = (c * m if self.aside else 0) + self._masks(last)
        first, down = self._feed_forward[0].weights, last.weights
        if self.ungated is not None:
            return tuple(
                more(each, per_token=kept + aside)
                for each in self.ungated.back(self.product_read, self.adapter_of(last))
            )
        moments = [
            Moment(
                per_token=kept - self._scaled_gradient + aside + 6 * c * m,
                graded=down,
                adapted=self.adapter_of(last),
            ),
            self._of_matrix(kept + aside + 5 * c * m, down),
        ]
        if self.work.is_full and c < self.w:  # a gradient is cast from the compute type
            cast = Moment(per_token=kept + 4 * c * m, fixed=c * down, graded=down, fresh=down)
            moments.append(cast)
        if self.shape.fused_gate_up:
            moments.append(self._of_matrix(kept + aside + 2 * c * m + c * h, first, done=down))
            if self._is_adapted(self._feed_forward[0]) and not self.work.is_full:
                moments.append(Moment(per_token=kept + 6 * c * m + 2 * self.w * h))
        return tuple(moments)

    def _of_matrix(self, per_token: int, entries: int, done: int = 0) -> Moment:
        """The moment of a linear layer's way back at which its matrix is expanded, or its gradient comes; `done` have come before."""
        if self.work.quantization:
            return Moment(per_token=per_token, fixed=self.c * entries)
        if not self.work.is_full:
            return Moment(per_token=per_token)
        if self.c < self.w:
            return Moment(per_token=per_token, fixed=self.c * entries, graded=done)
        return Moment(per_token=per_token, graded=done + entries, fresh=entries)

    def _attention_moments(self) -> tuple[Moment, ...]:
        """Of attention: queries, keys, values, output and the gradients of all of them, and what the kernel has inside.

        Norms on keys, then on queries, go back with five float32 copies more of their input. Eager attention has, for every pair and head, the gradient of the
        weights, the weights and the gradient of the scores in float32, and capped scores; gpt-oss three of all these in the compute type:
        those after softmax, what comes back through it, and a place for the gradient of the largest.
        """
        c, q, k, h = self.c, self.q, self.k, self.h
        kept = self.first_half + self._gradient + self.low_rank
        kept += self.aside
        kept += self._given_by_block
        given = {
            "graded": self._block_entries + self._attention[-1].weights,
            "adapted": self._block_adapters + self.adapter_of(self._attention[-1]),
        }
        if self.latent is not None:
            return self._latent_moments(kept, given)
        norms = self._norms_of_heads
        views = c * (q + k) if self._keeps_views else 0
        keys = q if self.repeats_keys else k
        kernel = self.inside(q, k, self.shape.heads)
        parts = self._doubled(self._attention[:-1])
        both = 4 * c * q + 4 * c * keys + norms + views + parts
        moments = [Moment(per_token=kept + both + kernel, **given)]
        if self.writes_dropped:
            written = self.pairs * self.shape.heads * self.written_back
            moments.append(Moment(per_token=kept + both + 24 * q, fixed=written, **given))
        if self.work.attention == "eager":
            each = 12 + (c if self.shape.caps_scores else 0)
            if self.shape.has_sinks:
                each = 3 * self.sink_scores + ((c + 1) if self.shape.dropouts.scores else 0)
                # the gradient of what visits gave, for which the layer is run again
                kept += self.e * h * self.block.s if self.work.gradient_checkpointing else 0
            scores = self.pairs * self.shape.heads * each
            moments = [
                Moment(per_token=kept + 3 * c * q + 2 * c * keys + parts, fixed=scores, **given)
            ]
            if self.shape.has_sinks and c < self.sink_scores:
                # three in the forward pass too, beside a copy for their product with the values; queries and keys as rotation gave them
                wide = kept + 3 * c * q + 2 * c * keys + self.sink_scores * (q + k)
                copy = c * self.pairs * self.shape.heads
                moments.append(Moment(per_token=wide, fixed=scores + copy))
            if self.shape.dropouts.scores:
                # softmax, a byte, the gradients before and behind dropout; values and what attention gave wait, with gradients
                dropped = self.pairs * self.shape.heads * (5 + 2 * c)
                each = kept + 6 * c * q + 2 * c * keys + parts
                moments.append(Moment(per_token=each, fixed=dropped, **given))
        if norms:
            gone = 2 * c * h if self.work.casts_inputs else 0  # copies of keys' and values' inputs
            out = (
                c * q if self.work.quantization == "int8" else 0
            )  # what attention gave is kept too
            rest = kept + out + 2 * h - gone
            queries = norms * q // (q + k) + c * q  # their norm and its gradient still to come
            moments.append(Moment(per_token=rest + queries + 24 * k, **given))
            moments.append(Moment(per_token=rest + 24 * q, **given))
        return tuple(moments)

    def _latent_moments(self, kept: int, given: dict[str, int]) -> tuple[Moment, ...]:
        """The same of latent attention; eager, what softmax has and gives back besides."""
        assert self.latent is not None
        *before, output = self._attention
        matrices = self.expanded(output), self.expanded(*before)
        moments = self.latent.moments(kept + self._doubled(self._attention[:-1]), *matrices)
        scores = 12 * self.pairs * self.shape.heads if self.work.attention == "eager" else 0
        return tuple(replace(each, fixed=each.fixed + scores, **given) for each in moments)

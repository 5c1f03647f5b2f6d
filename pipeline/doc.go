// Package pipeline takes records from an input through a model into a store: bounded, paced,
// tried again by the meaning of each error, and counted once.
//
// [Run] is the whole of it. A reader goroutine fills the buffer budget, one dispatcher owns every
// decision about what goes next, workers make one attempt at a time, and a storer makes results durable
// in groups. What it needs from elsewhere it declares as [Source], [Model] and [Store].
//
//	Source ─► reader ─► dispatcher ─► workers (Model) ─► dispatcher ─► storer (Store)
//	                        ▲  │
//	                        └──┘ records waiting for their next attempt hold no worker
package pipeline

// Package ratelimit decides when the next request may go to a model on Amazon Bedrock.
//
// [New] makes a [Limiter], [Limiter.Acquire] waits for a [Permit], and one call on the permit ends it:
// [Permit.Succeed], [Permit.Fail], [Permit.Throttled] or [Permit.Overloaded]. Nothing here runs by itself: there is no
// goroutine, and one timer only while somebody waits.
//
// # What a request costs
//
// Bedrock does not charge what a request uses when it starts, but what it may use, and corrects that at the end
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html):
//
//	at the start   input tokens + max_tokens
//	at the end     input tokens + cache write tokens + output tokens × burndown
//
// Cache reads do not count at the end. Whether they are reserved at the start AWS's own documents do not agree; the
// limiter assumes it, which is the safe side. A failed request is given back. With a burndown of 5, an input of 3,000 tokens, 1,000
// tokens written to the cache, 4,000 read from it and 1,000 tokens of output:
//
//	max_tokens   reserved                  settled
//	    32,000   4,000 + 32,000 = 36,000   4,000 + 5 × 1,000 = 9,000   27,000 come back
//	     1,250   4,000 + 1,250 = 5,250     4,000 + 5 × 1,000 = 9,000   3,750 more than reserved
//
// The second line is why a bucket must be able to go into debt: the 3,750 are paid back before the next request is
// admitted.
//
// # What is promised of a stated quota
//
// It is never knowingly passed. In every window of 60 seconds the requests admitted are at most RequestsPerMinute, and
// the tokens of the requests admitted in it, as settled once they ended and as they are expected to settle until then,
// are at most TokensPerMinute at every moment at which a request is admitted. A settlement above its reservation is
// known only afterwards, and delays the next admission. Requests that hang and then use nothing are known by their
// share of the last ones, and that part of the sum does not count. A request larger than the quota goes when nothing else is in
// the window. A request that was sent stays counted as a request, whatever became of it. Of TokensPerDay not even
// reservations pass the quota, in any 24 hours, but for a request that is larger than all of it: that waits for a day with
// nothing else in it, and everything behind it.
//
// How reservations count against the minute is not documented, and five shapes of quota are thinkable: a bucket that
// fills continuously, small or large; a fixed minute that takes refunds whenever they come; a fixed minute that
// forgets those of the minute before; a sliding minute. The first three give back at once, and in full, what was not
// used. The limiter begins with them (gate.go): it keeps a bucket of reserved tokens itself, that takes input and
// max_tokens at the start and gets back at the end what was not used, fills with 0.995 of the quota, saves 0.3 s
// of it, and does not go into debt for a request that those would hold. Whatever such a service counts, it has as much left, so
// nothing is refused, and a max_tokens far above the output costs nothing. What comes back after more than a minute, of streams that
// hung, fills the bucket to 10 s of the quota at most: the service's has been full meanwhile.
//
// The other two keep reservations until the minute is over. There R tokens reserved, U used and a stream of D seconds
// allow a share of 1 / (1 + E[min(D, 60)·(R−U)] / (60·E[U])) of the quota, whatever a client does; [Snapshot] tells it
// as Reachable, and what a smaller max_tokens would allow. They show by refusing while the strict sum, reservations in
// flight and settlements of 60 seconds, is full. A sliding minute never holds more than the quota, so two refusals in five minutes
// are enough if at the last of them the sum was not past it, by 2 %: to believe it wrongly costs about as little. Past it, three are
// asked for, the last within 45 s of another, since a fixed minute that forgets refunds goes on refusing until it ends, and else
// five; one of a row of refusals is enough anyway. From then on the strict sum is a bound too, in every window of 60 seconds. The
// gentler accounting is tried again after 10 minutes, then 20, up to two hours, until the next refusal: a stranger on the
// quota looks the same. Who has been admitted with the strict sum past the quota for 70 s on end is not on such a service,
// whatever it refuses, for either of the two is not past it once in a minute: where max_tokens is far above the output, a fixed
// minute that takes refunds refuses now and then as it ends, and up to six such refusals in five minutes are only held
// for. So are as many where the strict sum is a bound, and full: what has just left its window took longer on its way to the service than
// what was refused. A refusal while the strict sum is not full has another reason, and cuts the pace.
//
// Inside these bounds requests are spread evenly: a pacer lets them go at 0.995 of the quota in tokens they are
// *expected to settle at*, learned from those that ended, and starts with nothing saved.
//
// # What is learned from refusals
//
// A quota that is not stated does not exist until the service refuses something. Then the pace is cut to a share of what
// was admitted in the last 60 s: while a service refuses, that is not below the quota, whatever its shape, if nobody
// else uses it. It is cut at most every 19 s, or 15 s where refusals come among admissions, to no less than 0.7 of what it
// was, unless it has just been found that the quota is one of minutes, and not at all if nothing was admitted since. In
// between, it grows, but only while it is what holds requests back, and to 1.35 times what was admitted in the last 60 s at
// most; when it should have been refused again (after 45 s, or 62 s until the third cut, for an unknown minute refuses but once), ever faster, and after two minutes it doubles every 20 s
// without such a ceiling, since no window would have been silent so long.
//
// It is cut to 0.905, of few requests to 0.87 (pace.go), and grows by 11 % a minute at twenty requests a second, by 44 % at five: by
// the same number of requests a second whatever the pace is, but by 1.2 % of it a second at most, and 0.8 % in the first eight
// cuts of few requests. Growth that is the same for all, and cuts in proportion, make runners that share a quota and know
// nothing of each other come to the same pace. Ceilings that rise make growth faster, up to tenfold. A cut to 0.965 follows only where a single
// refusal of 300 requests comes after 45 seconds of growth: who shares a quota does not see so few. Remembering the last ceiling, as TCP
// CUBIC does, was tried: two runners stay apart, for whoever came first defends what it had. So was cutting less where ceilings agree: a
// newcomer sees such ceilings too, and stays with the little that it has.
//
// # What a refusal reads off
//
// At a refusal the service's own level is known, if nobody else uses the quota (reading.go): a sliding window holds all that it
// may, so does a fixed minute, and a bucket is empty, as it was at the refusal before, so that what was taken in between is
// what flowed in. So there are three readings of the quota at each refusal, from what this limiter has reserved and settled,
// and the one that is made in the way in which the service counts is the same to a fraction of a percent, refusal for refusal.
// Where one of eight requests a minute or more agrees with itself three times (twice for minutes) it is believed, and tells shape, size, and that nobody else is
// there. From then on 0.995 of it is used; a sliding window is kept 0.997 full and refuses nothing by itself; and after every 200
// requests, or three minutes, give or take a fifth, a little more is asked for, up to 3 % or a few requests. If more than 1.5 % is admitted the quota has grown, and the pace doubles every
// 20 s until the next refusal, which reads it again. A refusal with less than what is known, or a second one without having
// asked, is of a quota that has fallen or is shared: then nothing is known, and the pace is cut like any other.
//
// When the minutes of a quota begin shows too, and whoever else uses it (minutes.go). An exhausted minute refuses until the next
// one begins, so spells of refusals end at the same second of every minute. Once the last three did, or four of six, or the first two of few
// requests, a refusal is answered by waiting for that second, if it is no further off than 20 s, with a try every 8 s, instead of one every 4 s
// or less, or, where there are few requests, 30 s and with one try at most, and what finishing requests give back meanwhile is used, unless that is refused as well: then
// requests are used up. A refusal within 3 s after a minute should have begun tells that it has not, and is tried again at once. Runners that share such a quota are refused together, at the end of each minute; they cut to 0.88 of
// what was admitted in it and grow back within one, to 1.8 times that at most. Who has less grows by more requests a second, which makes
// them meet; and all of them see how early a minute is used up, so that growth can go by it: where more than 6 s are left of the minute it is less,
// in proportion, however many they are.
//
// All of that rests while refusals that come whatever the pace are known of (below), or rivals press.
//
// After a first cut with nothing stated the pace doubles every 9 s until the second: what was admitted before the
// first may be far below the quota. If a third of what is sent is refused meanwhile, the first cut is made again by the last 60 s, and
// in the minute after it cuts go by what was admitted since, for a bucket was full when the job began. A cut with fewer than six
// requests admitted in the last minute tells nothing of the quota, which others have used up, and the pace goes on doubling. Where seven in ten
// of the first requests are refused others have used it up, too: the second cut leaves 0.7, the pace doubles on every 18 s, and the third
// goes by what was admitted since. In the first second
// nobody replaces a refused stream until anything but refusals is heard. [Options.Start] begins at what an earlier run learned, as
// after a cut. A stated quota that is refused is shared with somebody: its pace falls and climbs back in the same way,
// and ends at the stated figure; [Options.Probe] takes a stated figure for a start.
//
// An exhausted quota refuses in a row, or what goes past it; and whatever else refuses (other customers of a shared
// model, a proxy, a test) refuses now and then. What a refusal means shows in the verdicts around it, in the order in
// which the requests were sent: a running likelihood of the first against the second, which knows the share of single
// refusals so far, decides. An exhausted quota holds everything back for a moment (0.2 s at first, or up to 2 s where
// requests take long to be earned, doubled up to 4 s while refusals go on, fourfold up to 8 s at less than 200 requests a minute, ±25 %), after which one request goes alone,
// with a lead of one and a half times what a refusal takes. Nothing is saved meanwhile, or it would leave as a burst.
//
// Sporadic refusals hold nothing back, but for 0.2 s when they cut the pace or are four in a minute at most, which is not in the first 5 s and 50
// requests. Such a cut is on trial. If after 15 s, 50 requests and 20 refusals their share is what it was, neither
// half nor clearly more, and they do not come in spells (more pairs of them in the same half second than by chance, by two standard
// errors), the pace has nothing to do with them: the cut is undone, and refusals of about that share are
// ignored for 1 min, the next time for 2 min, up to 10 min. In the first minute of a job others may have begun as well, and use the quota up
// together: refusals far more than before the cut, or a fifth that come in clumps, are those of an exhausted quota. Sporadic refusals that begin after a quiet time are rather
// those of a quota that fell, and weigh five times as much.
//
// # Rivals
//
// Two runners like this one come to the same pace because both slow down. A client that goes on through refusals takes what
// they leave: the SDK's adaptive mode cuts to 0.7, is back in two seconds, and ends with 4 of 5 parts of a shared quota, or
// all of it. So refusals are weighed every two minutes of the clock (rivals.go). Runners like this one cause each other 1.4 % of up to 4 requests
// a second, and less of more, in inverse proportion, down to 0.8 %; beside a rival three times as many are refused. The logarithms of how much likelier
// they are then add up, at most 3.3 from one time, and from 6.5 on a rival presses: after four minutes at the earliest, later where
// few requests tell little. Whatever is not taken then a rival takes, and
// grows until it is refused, so refusals come at any pace, and a pace that flees from them ends at nothing. The pace is even
// from then on: cut to 0.9 once in a spell of refusals, after a rest of half a second, or half as long as a spell
// lasts in the mean, and growing so that it settles
// where 0.18 of x requests a second are refused, 2 % at nine and 4.5 % at four. Runners that see the same share
// come to the same pace.
//
// What is refused then does not say whether the rival is still there, so it is asked, every 12 minutes of the clock: at a full minute a runner
// stands back to 0.87, and weighs the second minute of it, up to the fifth where the ones before leave it open. Runners that press only each other ask in the same minute, and stop together. One
// whose pace sank to a third in five cuts and more asks as well, and once more 4 minutes after it was answered that a rival presses.
// Where nothing is refused for 100 s it is gone. Clients that know their share
// and send evenly are refused a sixth to a half less (internal/lab, the best of patient clients), less still on fixed minutes.
//
// On fixed minutes a rival shows in what is left of them: three more than others that are used up 18 s before they end, though the pace
// was cut each time. There everybody is refused once a minute, and waits for the next without a try; a cut is to 0.6,
// and the pace grows by 0.3 requests a second in each second, so that it follows how long minutes last, which is the same for all. Whether
// the rival is still there shows in that too.
//
// # What it reaches
//
// By simulation only (TestTable prints it: thirty-two scenarios, five shapes of quota, three seeds), worst shape and seed,
// plain requests at twenty a second; the share is of what the accounting allows:
//
//	stated                          99.4 %     refused 0.03 %
//	stated, max_tokens × 10         99.5 %     refused 0.01 %
//	nothing stated                  99.0 %     refused 0.37 %
//	nothing stated, 2 a second      97.6 %     refused 0.76 %
//	nothing stated, max_tokens × 10 95.2 %     refused 0.42 %
//	stated twice too high           98.9 %     refused 0.39 %
//	quota halves                    97.7 %     refused 0.47 %
//	quota doubles                   97.7 %     refused 0.53 %
//	quota wanders by ±30 %          97.2 %     refused 0.52 %
//	two runners, five runners       98.5 %     refused 1.4 %, Jain's index 0.99 and 0.97
//	the same, one joins late        98.6 %     refused 1.5 %, Jain's index 0.98 and 0.97, from 5 to 25 minutes later
//	two, one of them an SDK's       98.7 %     refused 2.4 %
//	four, one of them an SDK's      99.3 %     refused 3.9 %, Jain's index among ours 0.95
//
// A refusal of the day's quota pauses everything; single requests try again after 5 s, 8 s, 12.8 s, … 10 min.
//
// # Streams in flight
//
// Provisioned capacity, and services that queue rather than refuse, have a knee: more streams in flight than that bring no more,
// they only wait. The limit of streams looks for it, apart from the pace: a refusal says nothing here.
//
// It begins at 32, or at what an earlier run learned, and [Options].Concurrency bounds it. While nothing was learned it is 1.8
// times the streams that have their first token, if that is more: so it reaches the bound in the time of a few first tokens,
// and not of a few streams. A stream that waits in a queue has no first token, and one that is refused gets none, so such
// services stop the rise themselves, and 16 slots see nothing of it, for 1.8 times those are less than 32. Streams that share a
// token rate all have their first token soon, so the rise ends at 16 times the streams of which some were seen to their end
// (512 at first), and where it went past 64 before the speed of fewer streams was known, the limit looks back once: it is two
// thirds of that for a turn, and goes back up if that brings less. If it brings as much (nine tenths) it is halved, and again,
// until fewer bring less, and the knee is told from that. The first sign of a knee, and overloads that lower the limit, end the
// start.
//
// Besides, the limit is half as high again for each turn, the mean time of a stream, that kept it in use and showed no knee. A limit
// that is not in use does not move. The signs of a knee:
//
//   - A queue. First tokens that come later than unloaded ones, times the streams served a second, are the streams that wait
//     (Little's law). A tenth of an unloaded first token, and half a stream, is tolerated; three standard errors are noise. The
//     unloaded time is that of the first eight streams, then of every turn without a queue; near the knee it only falls. What
//     a token of input adds is learned from neighbours and taken out. The limit goes back by those who wait.
//   - No gain. If a fifth more streams or more bring less throughput than the 0.45th power of that (a fifth for half as many again),
//     told from the tokens a second of one stream, they share a token rate. Of the streams at which it stopped growing 1.2 times
//     as many are kept, and fewer as soon as each stream has become slower by a quarter, again if they have not become as much faster.
//   - Overloads (503, timeouts), if their share is above the usual, which is taken to be a tenth at first. After the limit
//     was raised it goes back to where it was; else it falls to 0.7, or to the streams that are served if these are fewer, 0.35 at least.
//
// Whatever lowers the limit is tried by what it changes. If fewer streams have not brought first tokens sooner, these are
// the unloaded ones from then on, and the limit is what it was: a service has its day. If fewer have not lowered the share of overloads, that share is
// usual, and asked about again after 30 s, then 1 min, up to 10 min. A share above 95 % is an outage: the limit is back after
// a turn without any.
//
// Past a knee the limit feels its way: a stream or a 64th more, then twice that, if the last try stood; a quarter more where a token
// rate is shared; half of the way to what was too much where overloads came. After a try that failed the next waits 15 s,
// then twice as long, up to 85 s, and as long as keeps its overloads at 1 % of the requests. Every 5 min a queueing
// service is asked by a dip of one stream or 3 % for its unloaded time.
package ratelimit

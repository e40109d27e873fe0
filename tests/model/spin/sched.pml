/* SPDX-License-Identifier: MIT */
/* sched.pml - the scheduler of the models merged, tables and lanes. Each turn any
   process makes one step (= one shared access), dies, or stops for ever; the protocol
   is step1() in the model's .h file. -DMAYDIE, -DMAYSTOP: masks of who may.            */
c_decl {
\#include <stdlib.h>
\#include MODEL
}
c_state "G_t G" "Global"
byte bad, live, mortal, stoppable;  /* bit p set = process p may step, die, stop */
#define TURN(p) \
  :: d_step { (live & (1<<p)) -> c_code { step(&now.G,p); masks(&now.G,&now.live,&now.mortal,&now.stoppable); now.bad = now.G.bad; }; assert(bad==0) } \
  :: d_step { (mortal & (1<<p)) -> c_code { die(&now.G,p); masks(&now.G,&now.live,&now.mortal,&now.stoppable); now.bad = now.G.bad; }; assert(bad==0) } \
  :: d_step { (stoppable & (1<<p)) -> c_code { halt(&now.G,p); masks(&now.G,&now.live,&now.mortal,&now.stoppable); } }
active proctype sched() {
  d_step { c_code { start(&now.G); masks(&now.G,&now.live,&now.mortal,&now.stoppable); now.bad = now.G.bad; }; assert(bad==0) }
  do
  TURN(0) TURN(1) TURN(2) TURN(3)
  :: (live == 0) -> break
  od
}

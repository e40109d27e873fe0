/* SPDX-License-Identifier: MIT */
/*
 * merged.h - index and memory protocol together: one step per shared access, names
 * of the steps as in src/store/{edit,read,table,refers}.c, src/shm/{reclaim,adopt}.c.
 * MUT=n (environment) takes one rule out. See README.md.
 */
#include <stdio.h>
#include <string.h>
static int mut;             /* environment MUT: a rule to take out */
#define M(n) (mut==(n))
#ifndef NPROC
#define NPROC 3
#endif
#ifndef NSLOT
#define NSLOT 2
#endif
#ifndef MAXB
#define MAXB 2              /* buckets a table may have */
#endif
#define NKEY 3              /* keys 0 and 2 have the same hash bits */
#ifndef PLAN
#define PLAN {1}            /* sizes of the tables, in turn */
#endif
#ifndef NT
#define NT 1                /* tables: every one has memory of its own (reuse: model tables) */
#endif
#ifndef NBLK
#define NBLK 4
#endif
#ifndef SLABS
#define SLABS {0,1,2,2}     /* slab of each block */
#endif
#ifndef NSLAB
#define NSLAB 3
#endif
#ifndef OWNERS
#define OWNERS {0,1,2}      /* process that owns each slab at the start */
#endif
#ifndef INITREC
#define INITREC {0,1,2},    /* {key, version, block} */
#endif
#ifndef MAYDIE
#define MAYDIE 1
#endif
#ifndef MAYSTOP
#define MAYSTOP 0
#endif
#define MAXOP 5
#define SURV (NPROC-1)      /* adopts and accounts for everything at the end; neither dies nor stops */

typedef unsigned char u8; typedef unsigned short u16;
enum { END=0, tPUT, tDEL, tGET, tRSZ, tADO, tREC, tXDEL };
typedef struct { u8 op,k,v; } op_t;
#define PUT(k,v) {tPUT,k,v}
#define DEL(k)   {tDEL,k,0}
#define GET(k)   {tGET,k,0}
#define RSZ      {tRSZ,0,0}
#define ADO(d)   {tADO,d,0}
#define REC      {tREC,0,0}
static op_t script[NPROC][MAXOP+1] = SCRIPT;
static const u8 plan[] = PLAN, slab_of[NBLK] = SLABS, owners[NSLAB] = OWNERS;
static const u8 initrec[][3] = { INITREC {255,0,0} };
#define NPLAN ((int)sizeof(plan))
/* slot word: FROZEN | RECORD | hash bit | block; or an EMPTY word */
#define F   0x80
#define R   0x40
#define TAG 0x20
#define WORD(b,k) (R|(((k)&1)?TAG:0)|(b))
#define ISREC(w)  ((w)&R)
#define REF(w)    ((w)&0x1f)
#define TAGOF(w)  (((w)&TAG)?1:0)
#define EMPTY(u)  (u)
enum { UNBORN=0, IDLE=1, PEND=2, FROZEN=3 };
typedef struct { u8 seq,st,e,pend; } ctrl_t;
#define SAMEA(x,y) ((x).seq==(y).seq && (x).st==(y).st && (x).e==(y).e)
#define SAME(x,y)  (SAMEA(x,y) && (x).pend==(y).pend)
#define CURT(g)  (((g)+1)/2)      /* table number: the root word follows from gen */
#define MIG(g)   ((g)&1)
#define CURN(g)  plan[CURT(g)]
#define PREVN(g) plan[CURT(g)-1]
#define BK(h,n)  ((h)&((n)-1))
#define NOKEY 15                  /* a block's key before it was ever filled: no record */

typedef struct {
  u8 pc, oi, g, b, i, e, w, x, ver, val, hit, src, res, j;
  ctrl_t c, hc; u8 hl, hr, mt, ms, mi, mj, mr, rt;
  u8 q, qk, fr, ans, m, m2, sj, vs;
  u16 seen;
} proc_t;
enum { RUN=0, DEAD, STOP };
typedef struct {
  u8 gen, bad, alloc, ret, up, own[NSLAB];
  ctrl_t ctrl[NT][MAXB]; u8 slot[NT][MAXB][NSLOT];
  struct { u8 key,val,ver; } blk[NBLK];
  u8 hw[NPROC], vw[NPROC], hr[NPROC];   /* block + 1 */
  u8 st[NPROC], vh[NPROC], life[NPROC], lf[NBLK]; /* ghosts: status, validated hazard (block + 1), life of it, lives of blocks */
  u8 cur[NKEY];                         /* ghost: version of each key, 0 = absent */
  proc_t p[NPROC];
} G_t;
#define PCS X(DONE) X(AL0) X(AL1) X(F1) X(F2) X(F3) X(F4) X(W1) X(W4) X(W4b) X(W5) X(W6) X(W7) X(W8) X(W9) X(W10) X(W10a) X(W11) X(W12) X(W12s) X(W12L) X(W12x) \
  X(W13) X(W13f) X(W20) X(H1) X(H2) X(H3) X(H4) X(M1) X(M1b) X(M2) X(M3) X(M4) X(M5) X(R1) X(R8) X(R9) X(R11) \
  X(G1) X(G2) X(G3) X(G4) X(G5p) X(G6p) X(G7p) X(G8p) X(G10) X(G11) X(G12) X(G13) X(G14) X(G15) X(G17) X(G18) \
  X(A1) X(A2) X(A2b) X(A2d) X(A2e) X(A2g) X(A2h) X(A3a) X(A3b) X(A3c) X(A3d) X(A4) X(RF0) X(RF1) X(RF2) X(RF3) X(RF4) X(RF5) X(RF6) X(RF7) X(RF8) \
  X(RC1) X(RC2) X(RC4) X(RC4r) X(RC5a) X(RC5b) X(FIN)
#define X(n) n,
enum { PCS NPC };
#undef X
#define X(n) #n,
static const char *pcn[]={ PCS };
#undef X
static int trail_on;
#define VIOL(n) do{ if(!G->bad) G->bad=(n); if(trail_on) printf("      *** VIOLATION %d line %d\n",(n),__LINE__); }while(0)
/* 1 key lost, doubled or resurrected, or an authoritative word names a bad block   2 get returned what was not current
   3 insert while present  4 delete-miss while present  5 impossible state  6 target overflow  7 not finished alone
   8 block freed or handed out while reachable, private or hazarded  9 retired bit on a wrong block
   10 changed under a validated hazard  11 leak */

#define GO(n) do{ p->pc=(n); return; }while(0)
#define CTRL(l) G->ctrl[(l)>>1][(l)&1]
#define SLOT(l) G->slot[(l)>>1][(l)&1]
#define LOC(T,b) (((T)<<1)|(b))

static void begin(proc_t *p,int me){
  const op_t *o=&script[me][p->oi]; u8 oi=p->oi;
  memset(p,0,sizeof *p); p->oi=oi;
  switch(o->op){ case tPUT: p->pc=AL0; break; case tDEL: p->pc=W1; break; case tGET: p->pc=G1; break; case tRSZ: p->pc=R1; break;
    case tADO: p->pc=A1; break; case tREC: p->pc=RC1; break; default: p->pc= me==SURV ? FIN : DONE; }
}
static void next_op(proc_t *p,int me){ p->oi++; begin(p,me); }
static void setcur(G_t*G,int k,int v){ int q; G->cur[k]=v;
  for(q=0;q<NPROC;q++) if(G->p[q].seen && script[q][G->p[q].oi].k==k) G->p[q].seen|=1u<<v; }
static ctrl_t *authority(G_t*G,int k,int*loc){ int g=G->gen, T=CURT(g), b=BK(k,CURN(g));
  if(MIG(g) && G->ctrl[T][b].st==UNBORN){ T--; b=BK(k,PREVN(g)); }
  *loc=LOC(T,b); return &G->ctrl[T][b]; }
static int reachable(G_t*G,int b){ int k,i,l; for(k=0;k<2;k++){ ctrl_t*c=authority(G,k,&l);
    if(c->st==PEND && REF(c->pend)==b && TAGOF(c->pend)==k) return 1;
    for(i=0;i<NSLOT;i++){ int w=SLOT(l)[i]; if(ISREC(w) && REF(w)==b && TAGOF(w)==k) return 1; } }
  return 0; }
/* what a fresh look-up finds is the ghost map; the blocks it names are live */
static void absck(G_t*G){ int k,i,l;
  for(k=0;k<NKEY;k++){ int n=0,v=0,pin=0; ctrl_t c=*authority(G,k,&l);
    if(c.st==UNBORN){ VIOL(5); return; }
    for(i=0;i<NSLOT+1;i++){ int w = i<NSLOT ? SLOT(l)[i] : c.st==PEND && !pin ? c.pend : 0;
      if(!ISREC(w) || TAGOF(w)!=(k&1)) continue;
      if(i<NSLOT && c.st==PEND && c.e==i && (w&~F)==c.pend) pin=1;
      if(!(G->alloc>>REF(w)&1) || (G->ret>>REF(w)&1)) VIOL(1);
      if(G->blk[REF(w)].key==k){ n++; v=G->blk[REF(w)].val; if(G->blk[REF(w)].ver!=v) VIOL(1); } }
    if(n>1 || (n==1)!=(G->cur[k]!=0) || (n==1 && v!=G->cur[k])) VIOL(1);
  } }
static int priv_of_live(G_t*G,int b,int but){ int q; for(q=0;q<NPROC;q++) if(q!=but && G->st[q]!=DEAD && G->p[q].b==b+1) return 1; return 0; }
static void freeck(G_t*G,int b,int me){ int q; if(reachable(G,b)||priv_of_live(G,b,me)) VIOL(8);
  for(q=0;q<NPROC;q++) if(q!=me && G->st[q]!=DEAD && G->vh[q]==b+1) VIOL(8); }
static void retire(G_t*G,int b){ if(!(G->alloc>>b&1) || reachable(G,b) || priv_of_live(G,b,-1)) VIOL(9); G->ret|=1<<b; }
static int own_slab(G_t*G,int b,int me){ return G->own[slab_of[b]]==me+1; }
static int slab_mask(int s){ int b,m=0; for(b=0;b<NBLK;b++) if(slab_of[b]==s) m|=1<<b; return m; }
static int names_src(int n,int pn,int t,int idx){ if(n>=pn) return idx==0? (t&(pn-1)) : -1; return t+idx*n<pn ? t+idx*n : -1; }

static void step1(G_t*G,int me){
  proc_t*p=&G->p[me]; const op_t*o=&script[me][p->oi]; const int k=o->k;
  const int T=CURT(p->g), bk=BK(k,CURN(p->g)), L=LOC(T,bk);
  int i; ctrl_t a,n; u8 w;
  switch(p->pc){
  /* ---- ALLOC: version 0, alloc bit, content, version ---------------------------------- */
  case AL0: for(i=0;i<NBLK;i++) if(own_slab(G,i,me) && !(G->alloc>>i&1)) break;
    if(i>=NBLK) { next_op(p,me); return; }                       /* no block: the PUT fails */
    freeck(G,i,me); G->blk[i].ver=0; p->b=i+1; GO(AL1);
  case AL1: G->alloc|=1<<(p->b-1); G->lf[p->b-1]++; GO(M(22)?F1:F2);
  case F1: G->blk[p->b-1].ver=o->v; GO(F2);                          /* 22 only */
  case F2: G->blk[p->b-1].key=k; GO(F3);
  case F3: G->blk[p->b-1].val=o->v; GO(F4);
  case F4: if(!M(22)) G->blk[p->b-1].ver=o->v; GO(W1);
  /* ---- find: W1 to W8 ----------------------------------------------------------------------- */
  case W1: p->g=G->gen; p->e=p->w=p->i=0; memset(&p->c,0,4); p->seen=0; GO(W4);
  case W4: a=CTRL(L); p->c=a; p->c.pend=0; p->seen=1u<<G->cur[k];
    if(a.st==UNBORN){ p->seen=0; memset(&p->c,0,4); if(!MIG(p->g)){ VIOL(5); return; } p->mt=bk; p->ms=p->mi=p->mj=0; p->mr=W4; GO(M1); }
    if(a.st==FROZEN) GO(W1);
    if(a.st==PEND) GO(W4b);
    p->i=p->e=0; GO(W5);
  case W4b: p->hc=p->c; p->hc.pend=CTRL(L).pend; p->hl=L; p->hr=W4; memset(&p->c,0,4); p->seen=0; GO(H1);
  case W5: w=SLOT(L)[p->i]; if(w&F) GO(W1);
    if(ISREC(w)){ if(TAGOF(w)==(k&1)){ p->w=w; GO(W6); } }
    else if(!p->e) p->e=p->i+1;
    goto wnext;
  case W6: G->hw[me]=REF(p->w)+1; G->vh[me]=0; if(M(18)) GO(W10); if(M(17)){ G->vh[me]=REF(p->w)+1; G->life[me]=G->lf[REF(p->w)]; GO(W8);} GO(W7);
  case W7: if(SLOT(L)[p->i]!=p->w) GO(W1); G->vh[me]=REF(p->w)+1; G->life[me]=G->lf[REF(p->w)]; GO(W8);
  case W8: if(G->blk[REF(p->w)].key==k){ if(M(24)) GO(W10); GO(W9); } p->w=0; goto wnext;
  case W9: a=CTRL(L); if(!SAMEA(a,p->c)) GO(W1); p->seen=0; GO(M(18)?W10a:W10);
  /* ---- publish: W10 to W13 --------------------------------------------------------------------- */
  case W10: p->ver=G->blk[REF(p->w)].ver; if(M(18)) GO(W7); if(!p->ver) GO(W1); if(M(4)||M(5)) GO(W11); GO(W10a);
  case W10a: G->vw[me]=p->ver; GO(W11);
  case W11: p->seen=0; if(SLOT(L)[p->i]!=p->w) { p->ver=0; GO(W1); }
    if(G->vh[me]!=REF(p->w)+1 || G->life[me]!=G->lf[REF(p->w)] || (!M(18) && G->blk[REF(p->w)].ver!=p->ver)) VIOL(10);
    if(o->op==tPUT){ SLOT(L)[p->i]=WORD(p->b-1,k); p->b=0; setcur(G,k,o->v); }
    else { SLOT(L)[p->i]=EMPTY(p->ver); setcur(G,k,0); }
    memset(&p->c,0,4); p->e=p->i=p->g=0; if(M(5)) GO(W12L); p->ver=0; if(M(3)) GO(W12x); GO(M(25)?W12s:W12);
  case W12L: G->vw[me]=p->ver; p->ver=0; GO(W12);
  case W12x: G->hw[me]=0; G->vh[me]=0; GO(W12);
  case W12s: p->m=G->ret; p->hit=1; GO(W12);                       /* 25: load, then store */
  case W12: if(M(25)){ G->ret=p->m|1<<REF(p->w); p->m=p->hit=0; } else retire(G,REF(p->w)); p->w=0; GO(W13);
  case W13: if(!M(21)){ G->hw[me]=0; } G->vh[me]=0; p->w=0; if(p->b) GO(W13f); next_op(p,me); return;
  case W13f: G->alloc&=~(1<<(p->b-1)); next_op(p,me); return;        /* never published */
  case W20: a=CTRL(L); if(!SAME(a,p->c)) GO(W1);
    n.seq=a.seq+1; n.st=PEND; n.e=p->e-1; n.pend=WORD(p->b-1,k);
    if(G->cur[k]) VIOL(3);
    CTRL(L)=n; setcur(G,k,o->v); p->b=0; p->e=0; memset(&p->c,0,4); p->seen=0;
    p->hc=n; p->hl=L; p->hr=W13; GO(H1);
  /* ---- HELP ---------------------------------------------------------------------------------------- */
  case H1: p->x=SLOT(p->hl)[p->hc.e]; GO(H2);
  case H2: a=CTRL(p->hl); if(!SAMEA(a,p->hc)) goto hret; if(p->x&F) VIOL(5); GO(ISREC(p->x)?H4:H3);
  case H3: i=p->hc.e; if(SLOT(p->hl)[i]==p->x) SLOT(p->hl)[i]=p->hc.pend; p->x=0; GO(H4);
  case H4: a=CTRL(p->hl); if(SAME(a,p->hc)){ n.seq=a.seq+1; n.st=IDLE; n.e=0; n.pend=0; CTRL(p->hl)=n; } goto hret;
  /* ---- MIGRATE(mt) ----------------------------------------------------------------------------------- */
#define SRC LOC(T-1,names_src(CURN(p->g),PREVN(p->g),p->mt,p->ms))
  case M1: a=CTRL(SRC); p->c=a; p->c.pend=0; if(a.st==UNBORN){ VIOL(5); return; }
    if(a.st==PEND) GO(M1b); if(a.st==FROZEN){ memset(&p->c,0,4); p->mi=0; GO(M3);} GO(M2);
  case M1b: p->hc=p->c; p->hl=SRC; p->hc.pend=CTRL(p->hl).pend; p->hr=M1; memset(&p->c,0,4); GO(H1);
  case M2: a=CTRL(SRC); if(!SAME(a,p->c)){ memset(&p->c,0,4); GO(M1);}
    n.seq=a.seq+1; n.st=FROZEN; n.e=0; n.pend=0; CTRL(SRC)=n; memset(&p->c,0,4); p->mi=0; GO(M3);
  case M3: SLOT(SRC)[p->mi]|=F; w=SLOT(SRC)[p->mi]&~F;
    if(!ISREC(w) || BK(TAGOF(w),CURN(p->g))!=p->mt) goto mnext; p->w=w; GO(M4);
  case M4: if(p->mj>=NSLOT){ VIOL(6); return; } i=LOC(T,p->mt); if(SLOT(i)[p->mj]==0) SLOT(i)[p->mj]=p->w; p->mj++; p->w=0; goto mnext;
  case M5: i=LOC(T,p->mt); if(CTRL(i).st==UNBORN){ n.seq=1; n.st=IDLE; n.e=0; n.pend=0; CTRL(i)=n; }
    p->pc=p->mr; p->mr=p->mt=p->ms=p->mi=p->mj=p->w=0; return;
  /* ---- RESIZE: the table hazard and the table's memory are the subject of the model tables ---------------- */
  case R1: p->g=G->gen; if(MIG(p->g)){ p->rt=0; GO(R9); } if(p->g/2>=NPLAN-1){ next_op(p,me); return; } GO(R8);
  case R8: if(G->gen==p->g) G->gen++; GO(R1);
  case R9: a=CTRL(LOC(T,p->rt)); if(a.st==UNBORN){ p->mt=p->rt; p->ms=p->mi=p->mj=0; p->mr=R9; GO(M1); }
    p->rt++; if(p->rt<CURN(p->g)) GO(R9); p->rt=0; GO(R11);
  case R11: if(G->gen==p->g) G->gen++; next_op(p,me); return;
  /* ---- GET ---------------------------------------------------------------------------------------------------- */
#define GL (p->src?LOC(T-1,BK(k,PREVN(p->g))):L)
  case G1: p->g=G->gen; memset(&p->c,0,4); p->i=p->w=p->ver=p->val=p->hit=p->src=p->res=0; p->seen=1u<<G->cur[k]; GO(G2);
  case G2: a=CTRL(L); if(a.st==UNBORN){ if(!MIG(p->g)) GO(G1); p->src=1; GO(G3);} p->c=a; p->c.pend=0; GO(a.st==PEND?G4:G10);
  case G3: a=CTRL(GL); if(a.st==UNBORN) GO(G1); p->c=a; p->c.pend=0; GO(a.st==PEND?G4:G10);
  case G4: w=CTRL(GL).pend; if(!ISREC(w) || TAGOF(w)!=(k&1)) GO(G10); p->w=w; GO(G6p);
  case G6p: if(G->blk[REF(p->w)].key!=k){ p->w=0; GO(G10);} GO(G7p);
  case G7p: p->res=G->blk[REF(p->w)].val; p->w=0; GO(M(27)?G18:G8p);
  case G8p: a=CTRL(GL); if(!SAMEA(a,p->c)) GO(G1); GO(p->src?G17:G18);
  case G10: w=SLOT(GL)[p->i]&~F; if(!ISREC(w) || TAGOF(w)!=(k&1)) goto gnext; p->w=w; GO(G11);
  case G11: p->ver=G->blk[REF(p->w)].ver; GO(G12);
  case G12: p->hit=(G->blk[REF(p->w)].key==k); if(p->hit) GO(G13); GO(G14);
  case G13: p->val=G->blk[REF(p->w)].val; GO(M(14)?G15:G14);
  case G14: w=SLOT(GL)[p->i]&~F; if(w!=p->w) GO(G1); if(M(13)) goto gval; GO(G15);
  case G15: if(G->blk[REF(p->w)].ver!=p->ver || (!p->ver && !M(28))) GO(G1); goto gval;
  case G17: a=CTRL(L); if(a.st!=UNBORN && !M(15)) GO(G1); GO(G18);
  case G18: if(G->gen!=p->g && !M(16)) GO(G1); if(!((p->seen>>p->res)&1)) VIOL(2); next_op(p,me); return;
  /* ---- ADOPT process k ------------------------------------------------------------------------------------------- */
  case A1: if(G->st[k]!=DEAD || !(G->up>>k&1)){ next_op(p,me); return; }       /* row word and lock test */
    if(M(20)) G->up&=~(1<<k);
    p->x=G->hw[k]; if(!p->x || M(29)) { p->x=0; GO(A3a); } GO(A2);
  case A2: p->vs=G->vw[k]; if(!p->vs){ p->x=0; GO(A3a);} GO(M(11)?A2d:A2b);
  case A2b: G->hr[me]=p->x; GO(A2d);
  case A2d: if(!(G->alloc>>(p->x-1)&1)) GO(A2h); GO(A2e);
  case A2e: if(!M(30) && G->blk[p->x-1].ver!=p->vs) GO(A2h); p->q=p->x-1; p->fr=A2g; GO(RF0);
  case A2g: p->ans=0; retire(G,p->x-1); GO(A2h);
  case A2h: G->hr[me]=0; p->x=p->q=p->qk=p->vs=p->ans=0; GO(A3a);
  case A3a: for(;p->sj<NSLAB && G->own[p->sj]!=k+1;p->sj++) ;
    if(p->sj>=NSLAB){ p->sj=0; GO(A4); }
    if(!M(12)) G->own[p->sj]=me+1;
    if(M(19)){ p->sj++; GO(A3a); }
    GO(A3b);
  case A3b: p->m=slab_mask(p->sj)&G->alloc&~G->ret; goto anext;
  case A3c: p->ans=0; retire(G,p->q); p->q=0; goto anext;
  case A4: if(G->st[k]==DEAD) G->up&=~(1<<k); next_op(p,me); return;
  /* ---- refers(q), as store/refers.c --------------------------------------------------------------------------------- */
#define QK p->qk
#define QT LOC(CURT(p->g),BK(QK,CURN(p->g)))
#define QL (p->src?LOC(CURT(p->g)-1,BK(QK,PREVN(p->g))):QT)
  case RF0: p->qk=G->blk[p->q].key; if(p->qk==NOKEY){ p->ans=0; goto qret; } GO(RF1);
  case RF1: p->g=G->gen; p->src=p->i=p->ans=0; memset(&p->c,0,4); GO(RF2);
  case RF2: a=CTRL(QT); if(a.st==FROZEN) GO(RF1);
    if(a.st==UNBORN){ if(!MIG(p->g)) GO(RF1); if(M(7)){ p->ans=0; goto qret; } p->src=1; GO(RF3); }
    p->c=a; p->c.pend=0; GO(a.st==PEND && !M(6)?RF4:RF5);
  case RF3: a=CTRL(QL); if(a.st==UNBORN) GO(RF1); p->c=a; p->c.pend=0; GO(a.st==PEND && !M(6)?RF4:RF5);
  case RF4: w=CTRL(QL).pend; if(ISREC(w) && REF(w)==p->q){ p->ans=1; p->i=0; GO(RF6);} GO(RF5);
  case RF5: w=SLOT(QL)[p->i]; if(ISREC(w) && REF(w)==p->q){ p->ans=1; p->i=0; GO(RF6);}
    p->i++; if(p->i<NSLOT) GO(RF5); p->i=0; GO(RF6);
  case RF6: a=CTRL(QL); if(!SAMEA(a,p->c) && !M(9)) GO(RF1); GO(p->src?RF7:RF8);
  case RF7: a=CTRL(QT); if(a.st!=UNBORN && !M(8)) GO(RF1); GO(RF8);
  case RF8: if(G->gen!=p->g && !M(10)) GO(RF1); goto qret;
  /* ---- RECLAIM, as shm/reclaim.c: collect, versions 0, one scan, retired bits, alloc bits ------------------------------ */
  case RC1: for(;p->sj<NSLAB && G->own[p->sj]!=me+1;p->sj++) ;
    if(p->sj>=NSLAB){ p->sj=0; p->m2=0; if(!p->m){ next_op(p,me); return; } p->j=0; goto kscan; }
    p->m2=G->ret&slab_mask(p->sj); p->m|=p->m2; if(!p->m2||M(1)){ p->sj++; GO(RC1);} GO(RC2);
  case RC2: for(i=0;!(p->m2>>i&1);i++) ; G->blk[i].ver=0; p->m2&=~(1<<i); if(!p->m2){ p->sj++; GO(RC1);} GO(RC2);
  case RC4: if(G->up>>p->j&1) p->m&=~(1<<G->hw[p->j]>>1); GO(RC4r);
  case RC4r: if(G->up>>p->j&1) p->m&=~(1<<G->hr[p->j]>>1); p->j++; goto kscan;
  case RC5a: for(;p->sj<NSLAB && !(p->m&slab_mask(p->sj));p->sj++) ;
    if(p->sj>=NSLAB){ next_op(p,me); return; }
    w=p->m&slab_mask(p->sj); if(M(2)) w=p->m;
    if(M(31)){ for(i=0;i<NBLK;i++) if(w>>i&1) freeck(G,i,me); G->alloc&=~w; } else G->ret&=~w; GO(RC5b);
  case RC5b: w=p->m&slab_mask(p->sj);
    if(M(31)) G->ret&=~w; else { for(i=0;i<NBLK;i++) if(w>>i&1) freeck(G,i,me); G->alloc&=~w; }
    p->m&=~w; p->sj++; GO(RC5a);
  }
  return;
wnext: p->i++; if(p->i<NSLOT) GO(W5); p->w=p->i=0;
  if(o->op==tDEL){ if(!(p->seen&1)) VIOL(4); p->seen=0; memset(&p->c,0,4); p->e=0; GO(W13); }
  if(p->e) GO(W20);
  p->seen=0; memset(&p->c,0,4); GO(W13);                            /* bucket full: the PUT fails */
hret: p->x=0; memset(&p->hc,0,4); p->hl=0; p->pc=p->hr; p->hr=0; return;
mnext: p->mi++; if(p->mi<NSLOT) GO(M3);
  p->mi=0; p->ms++; if(names_src(CURN(p->g),PREVN(p->g),p->mt,p->ms)>=0) GO(M1); p->ms=0; GO(M5);
gval: if(p->hit){ p->res=p->val; p->w=p->ver=p->val=p->hit=p->i=0; GO(p->src?G17:G18); }
  p->w=p->ver=0;
gnext: p->i++; if(p->i<NSLOT) GO(G10); p->i=0; p->res=0; GO(p->src?G17:G18);
qret: i=p->fr; p->g=p->src=p->i=p->qk=p->fr=0; memset(&p->c,0,4);
  if(i==A2g){ if(p->ans){ GO(A2h);} GO(A2g); }
  if(!p->ans) GO(A3c);
  p->ans=0; p->q=0; goto anext;
anext: if(!p->m){ p->q=0; if(M(12) && G->own[p->sj]==k+1) G->own[p->sj]=me+1; p->sj++; GO(A3a); }
  for(i=0;!(p->m>>i&1);i++) ; p->m&=~(1<<i); p->q=i; p->fr=A3c; GO(RF0);
kscan: if(p->j==me) p->j++; if(p->j<NPROC && !M(2)) GO(RC4); p->j=0; if(!p->m){ next_op(p,me); return; } GO(RC5a);
}
static void dump(G_t*G,int me,int pc0){ int t,b,i,q;
  printf("P%d %-4s | gen %d ",me,pcn[pc0],G->gen);
  for(t=0;t<NT;t++){ printf("T%d",t); for(b=0;b<plan[t];b++){ ctrl_t c=G->ctrl[t][b]; printf("{%d%c",c.seq,"uIPF"[c.st]); if(c.st==PEND) printf("(b%d,e%d)",REF(c.pend),c.e);
      for(i=0;i<NSLOT;i++){ int w=G->slot[t][b][i]; printf(ISREC(w)?" r%d%s":" E%d%s",REF(w),(w&F)?"f":""); } printf("}"); } printf(" "); }
  for(i=0;i<NBLK;i++) printf("b%d:k%d=%d v%d%s%s@%d ",i,G->blk[i].key,G->blk[i].val,G->blk[i].ver,G->alloc>>i&1?"A":"-",G->ret>>i&1?"R":"",G->own[slab_of[i]]-1);
  for(q=0;q<NPROC;q++) printf("| P%d%s hw %d vw %d hr %d ",q,G->st[q]==DEAD?"+":G->st[q]==STOP?"s":"",G->hw[q]-1,G->vw[q],G->hr[q]-1);
  printf("cur"); for(i=0;i<NKEY;i++) printf(" %d",G->cur[i]); printf("\n"); }
/* The survivor alone: adopts all the dead, reclaims; then every block is accounted for. */
static void finish(G_t*G,int me){ int d,b,n,q; proc_t*p=&G->p[me]; u8 oi=p->oi;
  op_t *scr=script[me];
  for(d=0;d<NPROC;d++) if(G->st[d]==DEAD && (G->up>>d&1)){
    memset(p,0,sizeof *p); p->oi=MAXOP-1; scr[MAXOP-1].op=tADO; scr[MAXOP-1].k=d; p->pc=A1;
    for(n=0;p->oi==MAXOP-1 && n<1000 && !G->bad;n++){ step1(G,me); absck(G); }
    if(n>=1000) VIOL(7); }
  memset(p,0,sizeof *p); p->oi=MAXOP-1; p->pc=RC1; scr[MAXOP-1].op=tREC; scr[MAXOP-1].k=0;
  for(n=0;p->oi==MAXOP-1 && n<1000 && !G->bad;n++){ step1(G,me); absck(G); }
  if(n>=1000) VIOL(7);
  memset(p,0,sizeof *p); p->oi=oi; p->pc=DONE;
  for(b=0;b<NBLK && !G->bad;b++){ int held=0,o=G->own[slab_of[b]]-1;
    if(reachable(G,b)){ if(!(G->alloc>>b&1)||(G->ret>>b&1)) VIOL(1); continue; }
    if(!(G->alloc>>b&1)){ if(G->ret>>b&1) VIOL(11); continue; }
    for(q=0;q<NPROC;q++) if(G->st[q]==STOP && (G->p[q].b==b+1||G->hw[q]==b+1||G->hr[q]==b+1
      || ((G->p[q].pc==W12||G->p[q].pc==W12s) && REF(G->p[q].w)==b))) held=1; /* of a stopped one */
    if(G->st[o]==STOP) held=1;                        /* its owner is stopped */
    if(o!=me && G->st[o]==RUN && (G->ret>>b&1)) held=1; /* its owner reclaims when it next runs */
    if(!held) VIOL(11); }
}
static void step(G_t*G,int me){ int pc0=G->p[me].pc;
  if(pc0==FIN){ finish(G,me); absck(G); if(trail_on) dump(G,me,pc0); return; }
  step1(G,me); absck(G); if(trail_on) dump(G,me,pc0); }
static void die(G_t*G,int q){ u8 oi=G->p[q].oi; if(trail_on) printf("P%d dies at %s\n",q,pcn[G->p[q].pc]); G->st[q]=DEAD; G->vh[q]=0; memset(&G->p[q],0,sizeof(proc_t)); (void)oi; }
static void halt(G_t*G,int q){ if(trail_on) printf("P%d stops at %s\n",q,pcn[G->p[q].pc]); G->st[q]=STOP; G->p[q].seen=0; }
static void masks(G_t*G,u8*live,u8*mortal,u8*stoppable){ int q,others=0; *live=*mortal=*stoppable=0;
  for(q=0;q<NPROC;q++){ if(G->st[q]!=RUN) continue;
    if(G->p[q].pc!=DONE && q!=SURV) others=1;
    if(G->p[q].pc!=DONE) *live|=1<<q;
    if(MAYDIE>>q&1) *mortal|=1<<q;                  /* also when it is done: LEAVE */
    if((MAYSTOP>>q&1) && G->p[q].pc!=DONE) *stoppable|=1<<q; }
  if(others && G->p[SURV].pc==FIN) *live&=~(1<<SURV);
  if(G->p[SURV].pc==DONE) *live=*mortal=*stoppable=0; }
static void start(G_t*G){ int i,q; memset(G,0,sizeof *G);
  for(i=0;i<plan[0];i++){ G->ctrl[0][i].seq=1; G->ctrl[0][i].st=IDLE; }
  for(i=0;i<NBLK;i++) G->blk[i].key=NOKEY;
  for(i=0;i<NSLAB;i++) G->own[i]=owners[i]+1;
  for(i=0;initrec[i][0]!=255;i++){ int k=initrec[i][0],v=initrec[i][1],x=initrec[i][2],b=BK(k,plan[0]),s=0;
    while(G->slot[0][b][s]) s++;
    G->slot[0][b][s]=WORD(x,k); G->blk[x].key=k; G->blk[x].val=G->blk[x].ver=v; G->alloc|=1<<x; G->cur[k]=v; }
  G->up=(1<<NPROC)-1;
  for(q=0;q<NPROC;q++) begin(&G->p[q],q);
  if(getenv("TRAIL")) trail_on=1;
  if(getenv("MUT")) mut=atoi(getenv("MUT"));
  absck(G);
}
#undef F
#undef R
#undef TAG
#undef L
#undef M
#undef GO
#undef DONE
#undef END
#undef PUT
#undef DEL
#undef GET
#undef REC

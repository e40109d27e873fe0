/* SPDX-License-Identifier: MIT */
/*
 * lanes.h - members of several lanes, slabs of several blocks under release, and the
 * expiry sweep with its pin and its due word. One step per shared access, as in
 * src/shm/{slab,reclaim,adopt}.c and src/store/{edit,expiry}.c. See README.md.
 */
#include <stdio.h>
#include <string.h>
static int mut;             /* environment MUT: a rule to take out */
#define M(n) (mut==(n))
#ifndef NPROC
#define NPROC 3             /* lanes */
#endif
#ifndef ROWS
#define ROWS {0,1,2}        /* the member of each lane */
#endif
#ifndef NG
#define NG 2                /* granules; each a slab of NB blocks when it is one */
#endif
#ifndef NB
#define NB 2
#endif
#ifndef SLABS
#define SLABS {2}           /* lane that owns granule 0, 1 ... as a slab at the start; the rest is FREE */
#endif
#ifndef INITREC
#define INITREC {0,1,0,0},  /* {key, version, block, expiry or 0} */
#endif
#ifndef MAYDIE
#define MAYDIE 1            /* by lane; a lane takes its whole member with it */
#endif
#ifndef MAYSTOP
#define MAYSTOP 0
#endif
#ifndef LAST
#define LAST 3              /* the clock at the end */
#endif
#define FIX_DUE  (mut!=101) /* a writer leaves a sweep's marker its promise (README.md, finding 3) */
#define FIX_MARK (mut!=102) /* markers of two sweeps differ (finding 4) */
#define FIX_END  (mut!=103) /* a sweep that ends leaves another's marker its promise too (finding 6) */
#define NBLK (NG*NB)
#define NKEY 2
#define MAXOP 6
#define SURV (NPROC-1)
#define LATE 1
typedef unsigned char u8;
#define NEVER 255
#define MARK(t,me) (FIX_MARK ? 100+(t)*8+(me) : 100+(t)*8)
#define ISMARK(x) ((x)>=100 && (x)!=NEVER)
#define MARKT(x) (((x)-100)/8)
enum { END=0, tPUT, tDEL, tREC, tADO, tSWP, tALL, tTIC, tUSE };
typedef struct { u8 op,k,v,e; } op_t;
#define PUT(k,v,e) {tPUT,k,v,e}   /* e: expiry, 0: none */
#define DEL(k)   {tDEL,k,0,0}
#define REC      {tREC,0,0,0}
#define ADO(r)   {tADO,r,0,0}
#define SWP      {tSWP,0,0,0}
#define ALL      {tALL,0,0,0}
#define TIC      {tTIC,0,0,0}     /* the clock goes on */
#define USE      {tUSE,0,0,0}     /* a FREE granule for something else: writes everywhere, gives it back */
static op_t script[NPROC][MAXOP+1] = SCRIPT;
static const u8 row_of[NPROC] = ROWS, slabs[] = SLABS, initrec[][4] = { INITREC {255,0,0,0} };
enum { FREE=0, CLAIM, SLAB };
typedef struct { u8 kind,label; } own_t;
typedef struct {
  u8 pc, oi, b, w, x, ver, m, j, g, i, q, t, nx, lv, d, ans, vs, lw, fr, fail, lf, y;
} proc_t;
enum { RUN=0, DEAD, STOP };
typedef struct {
  u8 bad, now, up, nl;
  own_t own[NG]; u8 life[NG], due[NG], alloc[NG], ret[NG];
  struct { u8 key,ver,exp; } blk[NBLK];
  u8 slot[NKEY];                        /* the index: block + 1 */
  u8 hw[NPROC], vw[NPROC], hr[NPROC];   /* block + 1 */
  u8 st[NPROC], vh[NPROC], lf[NBLK];    /* ghosts */
  proc_t p[NPROC];
} G_t;
#define PCS X(DONE) X(AL0) X(AL1) X(CL1) X(CL2) X(CL3) X(CL4) X(CL5) X(F1) X(F4) X(AN1) X(AN2) X(W1) X(W6) X(W7) X(W10) X(W10a) X(W11) X(W12) X(W12s) X(W13) X(W13f) \
  X(RC1) X(RC2) X(RC4) X(RC4r) X(RC5a) X(RC5b) X(RC6) X(RC7) X(RC8) X(RC8r) X(RC9) \
  X(A1) X(A2) X(A2v) X(A2b) X(A2c) X(A2d) X(A2e) X(A2k) X(A2f) X(A2g) X(A2h) X(A3) X(A3b) X(A3f) X(A3g) X(A4) \
  X(SW0) X(SW1) X(SW2) X(SW3) X(SW4) X(SW5) X(SW6) X(SW6b) X(SW7) X(SW7b) X(SW7c) X(SW7d) X(SW8) X(SW8b) X(SW8c) X(SW9) X(TC) X(U1) X(U2) X(U3) X(FIN)
#define X(n) n,
enum { PCS NPC };
#undef X
#define X(n) #n,
static const char *pcn[]={ PCS };
#undef X
static int trail_on;
#define VIOL(n) do{ if(!G->bad) G->bad=(n); if(trail_on) printf("      *** VIOLATION %d line %d\n",(n),__LINE__); }while(0)
/* 1 the index names a bad block   2 a write into memory that is no longer that extent   5 impossible   7 not finished alone
   8 freed while reachable, private or hazarded   9 retired bit on a wrong block   10 changed under a hazard
   11 leak   12 an expired record is missed */
#define GO(n) do{ p->pc=(n); return; }while(0)
#define GR(b) ((b)/NB)
#define BIT(b) (1<<(b)%NB)
static void begin(proc_t *p,int me){ switch(script[me][p->oi].op){ case tPUT: p->pc=AL0; break; case tDEL: p->pc=W1; break; case tREC: p->pc=RC1; break;
  case tADO: p->pc=A1; break; case tSWP: case tALL: p->pc=SW0; break; case tTIC: p->pc=TC; break; case tUSE: p->pc=U1; break; default: p->pc= me==SURV?FIN:DONE; } }
static void next_op(proc_t *p,int me){ u8 a=p->oi,b=p->lv; memset(p,0,sizeof *p); p->oi=a+1; p->lv=b; begin(p,me); }
static int reachable(G_t*G,int b){ int k; for(k=0;k<NKEY;k++) if(G->slot[k]==b+1) return 1; return 0; }
static void absck(G_t*G){ int k; for(k=0;k<NKEY;k++) if(G->slot[k]){ int b=G->slot[k]-1;
  if(G->own[GR(b)].kind!=SLAB || !(G->alloc[GR(b)]&BIT(b)) || (G->ret[GR(b)]&BIT(b)) || !G->blk[b].ver || G->blk[b].key!=k) VIOL(1); } }
static int priv(G_t*G,int b,int but){ int q; for(q=0;q<NPROC;q++) if(q!=but && G->st[q]!=DEAD && G->p[q].b==b+1) return 1; return 0; }
static void freeck(G_t*G,int b,int me){ int q; if(reachable(G,b)||priv(G,b,me)) VIOL(8); for(q=0;q<NPROC;q++) if(q!=me && G->st[q]!=DEAD && G->vh[q]==b+1) VIOL(8); }
static void retire(G_t*G,int b,int life){ if(G->life[GR(b)]!=life || G->own[GR(b)].kind==FREE) VIOL(2);
  if(!(G->alloc[GR(b)]&BIT(b)) || reachable(G,b) || priv(G,b,-1)) VIOL(9); G->ret[GR(b)]|=BIT(b); }
static void due_write(G_t*G,int g,int life,int v){ if(G->life[g]!=life || G->own[g].kind==FREE) VIOL(2); G->due[g]=v; }
static int is_due(int due,int now){ if(due==NEVER) return 0; if(ISMARK(due)) return MARKT(due)+LATE<=now; return due<=now; }
static int promise(int e,int seen){ int t; if(!FIX_DUE || !ISMARK(seen)) return e; t=MARKT(seen)+LATE; return t<e ? t : e; }

static void step1(G_t*G,int me){
  proc_t*p=&G->p[me]; op_t o=script[me][p->oi]; int i,g,k=p->fr?G->blk[p->q].key:o.k;
  switch(p->pc){
  /* ---- a slab of one's own; ALLOC ---------------------------------------------------------------- */
  case AL0: for(i=0;i<NBLK;i++) if(G->own[GR(i)].kind==SLAB && G->own[GR(i)].label==me+1 && !(G->alloc[GR(i)]&BIT(i))) break;
    if(i==NBLK) GO(CL1); freeck(G,i,me); G->blk[i].ver=0; p->b=i+1; GO(AL1);
  case CL1: for(g=0;g<NG;g++) if(G->own[g].kind==FREE) break; if(g==NG){ next_op(p,me); return; } G->own[g]=(own_t){CLAIM,me+1}; p->g=g; GO(CL2);
  case CL2: G->life[p->g]=++G->nl; G->due[p->g]=NEVER; GO(CL3);
  case CL3: G->ret[p->g]=0; GO(CL4);
  case CL4: G->alloc[p->g]=0; GO(CL5);
  case CL5: G->own[p->g].kind=SLAB; p->g=0; GO(AL0);
  case AL1: i=p->b-1; G->alloc[GR(i)]|=BIT(i); G->lf[i]++; GO(F1);
  case F1: i=p->b-1; G->blk[i].key=o.k; G->blk[i].exp=o.e; p->lf=G->life[GR(i)]; if(M(10)&&o.e) GO(AN1); GO(F4);
  case F4: G->blk[p->b-1].ver=o.v; if(o.e && !M(10) && !M(12)) GO(AN1); GO(W1);
#define AB (M(12)?p->y:p->b)      /* 12: after publication */
  /* announce_expiry: a full barrier that looks, then compare-and-swap as long as it is higher */
  case AN1: p->x=G->due[GR(AB-1)]; i=promise(o.e,p->x); if(p->x<=i){ p->x=p->y=p->t=0; GO(M(10)?F4:M(12)?W13:W1);} GO(AN2);
  case AN2: g=GR(AB-1); if(G->due[g]!=p->x && !M(13)) GO(AN1); due_write(G,g,M(12)?p->t:p->lf,promise(o.e,p->x)); p->x=p->y=p->t=0; GO(M(10)?F4:M(12)?W13:W1);
  /* ---- replace, insert, delete; or the sweep's delete of block q (fr) -------------------------------- */
  case W1: p->w=G->slot[k]; if(p->fr && p->w!=p->q+1){ p->fail=1; GO(W13);} if(!p->w) GO(o.op==tPUT && !p->fr?W11:W13); GO(W6);
  case W6: G->hw[me]=p->w; G->vh[me]=0; GO(W7);
  case W7: if(G->slot[k]!=p->w) GO(W1); G->vh[me]=p->w; p->lf=G->life[GR(p->w-1)]; p->lw=G->lf[p->w-1]; GO(W10);
  case W10: p->ver=G->blk[p->w-1].ver; GO(W10a);
  case W10a: G->vw[me]=p->ver; p->ver=0; GO(W11);
  case W11: if(G->slot[k]!=p->w) GO(W1); if(p->w && (G->lf[p->w-1]!=p->lw || G->vh[me]!=p->w)) VIOL(10);
    if(p->fr) G->slot[k]=0; else { G->slot[k]=p->b; if(M(12)&&o.e&&p->b){ p->y=p->b; p->t=G->life[GR(p->b-1)]; } p->b=0; } p->lw=0; if(!p->w) GO(p->y&&!p->fr?AN1:W13); GO(M(14)?W12s:W12);
  case W12s: p->x=G->ret[GR(p->w-1)]; GO(W12);
  case W12: i=p->w-1; if(M(14)){ G->ret[GR(i)]=p->x|BIT(i); p->x=0; } else retire(G,i,p->lf); p->w=0; GO(p->y&&!p->fr?AN1:W13);
  case W13: G->hw[me]=0; G->vh[me]=0; p->w=p->lf=0; if(p->fr) GO(SW7d); if(p->b) GO(W13f); next_op(p,me); return;
  case W13f: i=p->b-1; G->alloc[GR(i)]&=~BIT(i); next_op(p,me); return;
  /* ---- RECLAIM: collect (g, i), one scan, free word by word ---------------------------------------------- */
#define MINE(g) (G->own[g].kind==SLAB && G->own[g].label==me+1)
  case RC1: for(;p->g<NG && !MINE(p->g);p->g++) ; if(p->g==NG){ p->g=p->q=0; p->j=0; if(!p->m) GO(RC6); goto scan1; }
    p->q=G->ret[p->g]; p->m|=p->q<<p->g*NB; if(!p->q){ p->g++; GO(RC1);} GO(RC2);
  case RC2: for(i=0;!(p->q>>i&1);i++) ; G->blk[p->g*NB+i].ver=0; p->q&=~(1<<i); if(!p->q){ p->g++; GO(RC1);} GO(RC2);
  case RC4: i=(G->up>>row_of[p->j]&1)?G->hw[p->j]:0; if(i) p->m&=~(1<<(i-1)); GO(RC4r);
  case RC4r: i=(G->up>>row_of[p->j]&1)?G->hr[p->j]:0; if(i) p->m&=~(1<<(i-1)); p->j++; goto scan1;
  case RC5a: for(;p->g<NG && !(p->m>>p->g*NB&((1<<NB)-1));p->g++) ; if(p->g==NG){ p->g=0; p->m=0; GO(RC6);}
    i=p->m>>p->g*NB&((1<<NB)-1); if(M(17)) G->ret[p->g]=0; else G->ret[p->g]&=~i; GO(RC5b);
  case RC5b: i=p->m>>p->g*NB&((1<<NB)-1); for(k=0;k<NB;k++) if(i>>k&1) freeck(G,p->g*NB+k,me); G->alloc[p->g]&=~i; p->g++; GO(RC5a);
  /* RELEASE: an empty slab becomes CLAIM; then one scan for whatever waits */
  case RC6: for(;p->g<NG && !(MINE(p->g) && (!G->alloc[p->g]||(M(21)&&G->ret[p->g])));p->g++) ; if(p->g==NG){ p->g=p->j=0; p->q=p->lv; if(!p->lv){ next_op(p,me); return; } goto scan2; } GO(RC7);
  case RC7: G->own[p->g].kind=CLAIM; p->lv|=1<<p->g; p->g++; GO(RC6);
#define INSIDE(r) if((r) && !(M(2) && ((r)-1)%NB)) p->q&=~(1<<GR((r)-1))
  case RC8: i=(G->up>>row_of[p->j]&1)?G->hw[p->j]:0; INSIDE(i); GO(RC8r);
  case RC8r: i=(G->up>>row_of[p->j]&1)?G->hr[p->j]:0; if(!M(20)) INSIDE(i); p->j++; goto scan2;
  case RC9: for(;p->g<NG && !(p->q>>p->g&1);p->g++) ; if(p->g==NG){ next_op(p,me); return; }
    if(G->own[p->g].kind!=CLAIM||G->own[p->g].label!=me+1) VIOL(5); G->own[p->g]=(own_t){FREE,0}; p->lv&=~(1<<p->g); p->g++; GO(RC9);
  /* ---- ADOPT member k: the intents of all its lanes, then its granules ----------------------------------------- */
  case A1: if(!(G->up>>o.k&1)){ next_op(p,me); return; } for(i=0;i<NPROC;i++) if(row_of[i]==o.k && G->st[i]!=DEAD){ next_op(p,me); return; } p->d=0; GO(A2);
  case A2: for(;p->d<NPROC && row_of[p->d]!=o.k;p->d++) ; if(p->d==NPROC || (M(4) && p->x)){ p->x=p->d=0; GO(A3);} 
    p->q=G->hw[p->d]; if(M(4)) p->x=1; if(!p->q){ p->d++; GO(A2);} GO(A2v);
  case A2v: p->vs=G->vw[p->d]; if(!p->vs){ p->q=0; p->d++; GO(A2);} GO(A2b);
  case A2b: G->hr[me]=p->q; GO(A2c);
  case A2c: g=GR(p->q-1); p->lf=G->life[g]; if(G->own[g].kind!=SLAB && !M(16)) GO(A2h); GO(A2d);
  case A2d: i=p->q-1; if(!(G->alloc[GR(i)]&BIT(i))) GO(A2h); GO(A2e);
  case A2e: if(G->blk[p->q-1].ver!=p->vs) GO(A2h); GO(A2f);
  case A2f: if(G->slot[G->blk[p->q-1].key]==p->q) GO(A2h); GO(A2g);
  case A2g: retire(G,p->q-1,p->lf); GO(A2h);
  case A2h: G->hr[me]=0; p->q=p->vs=p->lf=0; p->d++; GO(A2);
  case A3: for(;p->g<NG && !(G->own[p->g].label && row_of[G->own[p->g].label-1]==o.k && !(M(5)&&G->own[p->g].label-1!=o.k));p->g++) ; if(p->g==NG){ p->g=0; GO(A4);}
    G->own[p->g].label=me+1; if(G->own[p->g].kind==CLAIM){ p->lv|=1<<p->g; p->g++; GO(A3);} GO(A3b);
  case A3b: p->m=G->alloc[p->g]&~G->ret[p->g]; goto anext;
  case A3f: i=p->g*NB+p->i; if(G->blk[i].key<NKEY && G->slot[G->blk[i].key]==i+1) goto anext; GO(A3g);
  case A3g: retire(G,p->g*NB+p->i,G->life[p->g]); goto anext;
  case A4: G->up&=~(1<<o.k); next_op(p,me); return;
  /* ---- the expiry sweep ------------------------------------------------------------------------------------------ */
  case SW0: p->t=G->now; p->g=0; GO(SW1);
  case SW1: if(p->g==NG){ next_op(p,me); return; } if(G->own[p->g].kind!=SLAB){ p->g++; GO(SW1);} p->y=G->own[p->g].label; GO(SW2);
  case SW2: i=G->due[p->g]; if(i==NEVER || (o.op!=tALL && !is_due(i,p->t))){ p->y=0; p->g++; GO(SW1);} GO(M(7)?SW4:SW3);
  case SW3: G->hr[me]=p->g*NB+1; GO(SW4);
  case SW4: if((G->own[p->g].kind!=SLAB || G->own[p->g].label!=p->y) && !M(8)) GO(SW9); p->lf=G->life[p->g]; p->nx=NEVER; GO(M(9)?SW6:SW5);
  case SW5: p->y=MARK(p->t,me); due_write(G,p->g,p->lf,p->y); if(M(9)) GO(SW8); GO(SW6);
  case SW6: p->m=G->alloc[p->g]; GO(SW6b);
  case SW6b: p->m&=~G->ret[p->g]; p->i=0; goto snext;
  case SW7: i=p->q; p->vs=G->blk[i].ver; if(!p->vs) goto snext; GO(SW7b);
  case SW7b: i=G->blk[p->q].exp; if(!i){ p->vs=0; goto snext; } if(i>p->t){ if(i<p->nx) p->nx=i; p->vs=0; goto snext; } GO(SW7c);
  case SW7c: if(G->blk[p->q].ver!=p->vs){ if(G->blk[p->q].exp<p->nx) p->nx=G->blk[p->q].exp; p->vs=0; goto snext; } p->vs=0; p->d=p->lf; p->fr=1; p->fail=0; GO(W1);
  case SW7d: p->fr=0; p->lf=p->d; p->d=0; if(p->fail && p->t+LATE<p->nx) p->nx=p->t+LATE; p->fail=0; goto snext;
  case SW8: if(M(11)||G->due[p->g]==p->y){ due_write(G,p->g,p->lf,p->nx); p->y=p->nx=0; GO(SW9);} if(M(15)){ p->y=p->nx=0; GO(SW9);} GO(SW8b);
  case SW8b: p->x=G->due[p->g]; if(p->x<=(FIX_END?promise(p->nx,p->x):p->nx)){ p->x=p->y=p->nx=0; GO(SW9);} GO(SW8c);
  case SW8c: if(G->due[p->g]!=p->x) GO(SW8b); due_write(G,p->g,p->lf,FIX_END?promise(p->nx,p->x):p->nx); p->x=p->y=p->nx=0; GO(SW9);
  case SW9: G->hr[me]=0; p->lf=p->y=0; p->g++; GO(SW1);
  case TC: if(G->now<LAST) G->now++; next_op(p,me); return;
  case U1: for(g=0;g<NG;g++) if(G->own[g].kind==FREE) break; if(g==NG){ next_op(p,me); return; } G->own[g]=(own_t){CLAIM,me+1}; p->g=g; GO(U2);
  case U2: g=p->g; G->life[g]=++G->nl; G->due[g]=1; G->alloc[g]=(1<<NB)-1; G->ret[g]=0;    /* bytes that look like a live block of an old version */
    for(i=0;i<NB;i++) G->blk[g*NB+i].ver=1; GO(U3);
  case U3: G->own[p->g]=(own_t){FREE,0}; next_op(p,me); return;
  }
  return;
scan1: if(p->j==me) p->j++; if(M(6) && p->j<NPROC && row_of[p->j]==row_of[me]) p->j++; if(p->j==me) p->j++; if(p->j<NPROC) GO(RC4); p->j=0; GO(RC5a);
scan2: if(M(1)){ p->q=p->lv; p->j=NPROC; } if(p->j==me) p->j++; if(p->j<NPROC) GO(RC8); p->j=0; GO(RC9);
anext: if(!p->m){ p->i=0; p->g++; GO(A3);} for(i=0;!(p->m>>i&1);i++) ; p->m&=~(1<<i); p->i=i; GO(A3f);
snext: if(!p->m){ p->q=p->i=0; GO(M(9)?SW5:SW8);} for(i=0;!(p->m>>i&1);i++) ; p->m&=~(1<<i); p->q=p->g*NB+i; GO(SW7);
}
static void dump(G_t*G,int me,int pc0){ int i,q; static const char *kn[]={"FREE","CLAIM","SLAB"};
  printf("P%d %-4s | t%d ",me,pcn[pc0],G->now);
  for(i=0;i<NG;i++) printf("g%d:%s@%d L%d due %d a%x r%x ",i,kn[G->own[i].kind],G->own[i].label-1,G->life[i],G->due[i],G->alloc[i],G->ret[i]);
  for(i=0;i<NBLK;i++) printf("b%d:k%d v%d x%d ",i,G->blk[i].key,G->blk[i].ver,G->blk[i].exp);
  printf("slots %d %d ",G->slot[0]-1,G->slot[1]-1); for(q=0;q<NPROC;q++) printf("| P%d%s hw %d vw %d hr %d ",q,G->st[q]==DEAD?"+":G->st[q]==STOP?"s":"",G->hw[q]-1,G->vw[q],G->hr[q]-1); printf("\n"); }
static void solo(G_t*G,int me,int op,int k){ proc_t*p=&G->p[me]; int n; p->oi=MAXOP-1; script[me][MAXOP-1]=(op_t){op,k,0,0};
  begin(p,me); for(n=0;p->oi==MAXOP-1 && n<3000 && !G->bad;n++){ int pc0=p->pc; step1(G,me); absck(G); if(trail_on) dump(G,me,pc0); } if(n>=3000) VIOL(7); p->pc=DONE; }
static void finish(G_t*G,int me){ int d,q,b,k,all=0,stop=0; u8 oi=G->p[me].oi; G->p[me].pc=DONE;
  for(q=0;q<NPROC;q++){ d=row_of[q]; if(G->st[q]==STOP) stop|=1<<q; if(G->st[q]==DEAD && (G->up>>d&1)){ solo(G,me,tADO,d); all=1; } }
  if(all && !M(18)) solo(G,me,tALL,0);
  for(;;){ solo(G,me,tSWP,0); if(G->now>=LAST || G->bad) break; G->now++; }
  G->p[me].oi=oi;
  for(q=0;q<NPROC;q++) if(G->st[q]==RUN){ u8 o2=G->p[q].oi; solo(G,q,tREC,0); G->p[q].oi=o2; }
  for(k=0;k<NKEY;k++) if(G->slot[k]){ b=G->slot[k]-1; if(G->blk[b].exp && G->blk[b].exp+LATE<=G->now) VIOL(12); }
  for(b=0;b<NBLK && !G->bad;b++){ own_t w=G->own[GR(b)]; int held=0;
    if(w.label && G->st[w.label-1]==DEAD) VIOL(11);
    if(w.kind!=SLAB || !(G->alloc[GR(b)]&BIT(b)) || reachable(G,b)) continue;
    for(q=0;q<NPROC;q++) if(G->st[q]==STOP && (G->p[q].b==b+1||G->hw[q]==b+1||G->hr[q]==b+1||(G->p[q].w==b+1))) held=1;
    if(G->st[w.label-1]==STOP) held=1;
    if(!held) VIOL(11); }
  for(b=0;b<NG && !stop && !G->bad;b++) if(G->own[b].kind==CLAIM || (G->own[b].kind==SLAB && !G->alloc[b])) VIOL(11);
  G->p[me].oi=oi; G->p[me].pc=DONE;
}
static void step(G_t*G,int me){ int pc0=G->p[me].pc; if(pc0==FIN){ finish(G,me); } else step1(G,me); absck(G); if(trail_on) dump(G,me,pc0); }
static void die(G_t*G,int q){ int i; for(i=0;i<NPROC;i++) if(row_of[i]==row_of[q]){ if(trail_on) printf("P%d dies at %s\n",i,pcn[G->p[i].pc]); G->st[i]=DEAD; G->vh[i]=0; memset(&G->p[i],0,sizeof(proc_t)); } }
static void halt(G_t*G,int q){ if(trail_on) printf("P%d stops at %s\n",q,pcn[G->p[q].pc]); G->st[q]=STOP; }
static void masks(G_t*G,u8*live,u8*mortal,u8*stoppable){ int q,others=0; *live=*mortal=*stoppable=0;
  for(q=0;q<NPROC;q++){ if(G->st[q]!=RUN) continue;
    if(G->p[q].pc!=DONE && q!=SURV) others=1;
    if(G->p[q].pc!=DONE) *live|=1<<q;
    if(MAYDIE>>q&1) *mortal|=1<<q;
    if((MAYSTOP>>q&1) && G->p[q].pc!=DONE) *stoppable|=1<<q; }
  if(others && G->p[SURV].pc==FIN) *live&=~(1<<SURV);
  if(G->p[SURV].pc==DONE) *live=*mortal=*stoppable=0; }
static void start(G_t*G){ int i,q; memset(G,0,sizeof *G);
  for(i=0;i<NG;i++) G->due[i]=NEVER; for(i=0;i<NBLK;i++) G->blk[i].key=NKEY;
  for(i=0;i<(int)sizeof slabs;i++){ G->own[i]=(own_t){SLAB,slabs[i]+1}; G->life[i]=++G->nl; }
  for(i=0;initrec[i][0]!=255;i++){ int b=initrec[i][2]; G->blk[b].key=initrec[i][0]; G->blk[b].ver=initrec[i][1]; G->blk[b].exp=initrec[i][3];
    G->alloc[GR(b)]|=BIT(b); G->slot[initrec[i][0]]=b+1; if(initrec[i][3] && initrec[i][3]<G->due[GR(b)]) G->due[GR(b)]=initrec[i][3]; }
  G->up=255; for(q=0;q<NPROC;q++) begin(&G->p[q],q);
  if(getenv("TRAIL")) trail_on=1;
  if(getenv("MUT")) mut=atoi(getenv("MUT")); absck(G); }
#undef M
#undef GO
#undef DONE
#undef END
#undef BIT

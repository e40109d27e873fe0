/* SPDX-License-Identifier: MIT */
/*
 * tables.h - tables as extents: directory entries, table hazards, release by owner or
 * adopter, lines, spare lines, cut. One step per shared access; the steps follow
 * src/store/{resize,table}.c and src/shm/{adopt,granule}.c. See README.md.
 */
#include <stdio.h>
#include <string.h>
static int mut;             /* environment MUT: a rule to take out */
#define M(n) (mut==(n))
#ifndef NPROC
#define NPROC 3
#endif
#ifndef NG
#define NG 4                /* granules */
#endif
#ifndef NE
#define NE 4                /* directory entries 1..NE-1 */
#endif
#ifndef FIRST
#define FIRST 1             /* granules of the first table */
#endif
#ifndef FIRST_USED
#define FIRST_USED 0        /* its lines in use */
#endif
#ifndef OWNER0
#define OWNER0 (NPROC-1)    /* who owns the first table */
#endif
#ifndef MAYDIE
#define MAYDIE 1
#endif
#ifndef MAYSTOP
#define MAYSTOP 0
#endif
#ifndef SLACK
#define SLACK 0             /* lines kept for lanes that lose the race for a link */
#endif
#ifndef HEADL
#define HEADL 1             /* lines in a table's head; the second granule holds four more */
#endif
#define NLIFE 8
#define MAXL 6              /* links of the one chain of lines a table has here */
#define NGEN 8
#define MAXOP 6
#define SURV (NPROC-1)
typedef unsigned char u8;
enum { END=0, tWR, tLINE, tRSZ, tTEND, tADO, tUSE, tENT };
typedef struct { u8 op,k; } op_t;
#define WR      {tWR,0}     /* a writer's call: enters, touches both tables */
#define LINE    {tLINE,0}   /* ... and appends a line to the current one    */
#define RSZ(n)  {tRSZ,n}    /* resize to a table of n granules, or finish the one under way */
#define TEND    {tTEND,0}   /* ltz__tables_tend, then the release of what waits */
#define ADO(d)  {tADO,d}
#define USE     {tUSE,0}    /* takes a FREE granule for something else, writes, gives it back */
static op_t script[NPROC][MAXOP+1] = SCRIPT;

enum { FREE=0, CLAIM, PART, TABLE };
typedef struct { u8 kind,label,n; } own_t;            /* PART: n = head. label: process + 1 */
typedef struct { u8 claim,place,born; } ent_t;        /* claim: process + 1; place: head + 1 */
enum { XNONE=0, XTABLE, XLEAVING, XUNKNOWN };
typedef struct { u8 st,head,n,id; } ext_t;
#define NX NG
typedef struct {
  u8 pc, oi, g, rc, rp, hc, hp, lth, tc, tp;   /* root read; heads; hazard as the lane knows it; lives validated */
  u8 id, hd, n, i, j, x, y, z, r, ret, left;
  u8 spb, spl;                                 /* spare line: birth of its table, number */
  ext_t ext[NX];
} proc_t;
enum { RUN=0, DEAD, STOP };
typedef struct {
  u8 gen, rc, rp, bad, up, nl;
  own_t own[NG]; ent_t ent[NE];
  u8 life[NG];                                 /* ghost: whose bytes lie there; 0: something else's */
  u8 hid[NG];                                  /* shm_table.id, in a head */
  u8 room[NLIFE], used[NLIFE], link[NLIFE][MAXL], mig[NLIFE];  /* contents of the table of that life */
  u8 lc[NGEN], lp[NGEN];                       /* ghost: lives that root of that gen names */
  u8 th[NPROC], st[NPROC];
  proc_t p[NPROC];
} G_t;
#define PCS X(DONE) X(W1) X(W1b) X(W2) X(W3) X(X1) X(X2) X(N0) X(N1) X(N2) X(N3) X(N4) \
  X(R9) X(R9a) X(R9b) X(R9c) X(R11) X(E1) X(E1p) X(E1q) X(E1r) X(E2) X(E3) X(C1) X(C2) X(C3) X(C4) X(EF) X(Z1) X(Z2) X(B0) X(B1) X(B2) X(CL1) X(CL2) X(R8) \
  X(L1) X(L2) X(L3) X(L4) X(L5) X(T1) X(T2) X(T3) X(T4) X(T5) X(T6) X(T9) X(T10) X(T11) \
  X(U1) X(U2) X(U3) X(U4) X(A1) X(A2) X(A4) X(A4b) X(A5) X(A6) X(A7) X(A8) X(A9) X(S1) X(S2) X(S3) X(FIN)
#define X(n) n,
enum { PCS NPC };
#undef X
#define X(n) #n,
static const char *pcn[]={ PCS };
#undef X
static int trail_on;
#define VIOL(n) do{ if(!G->bad) G->bad=(n); if(trail_on) printf("      *** VIOLATION %d line %d\n",(n),__LINE__); }while(0)
/* 1 a validated writer finds its table zeroed, reused or gone   2 a line in foreign memory   3 one line twice
   4 migration finds no line   5 impossible   7 not finished alone   8 the root's table released   11 leak */
#define GO(n) do{ p->pc=(n); return; }while(0)
static int room_of(int n){ return n>1 ? 4+HEADL : HEADL; }
static void touch(G_t*G,int head,int tl){ if(G->life[head]!=tl) VIOL(1); }
static void touch_line(G_t*G,int head,int tl,int line){ int g=head+(line>HEADL); if(g>=NG || G->life[g]!=tl) VIOL(2); }
static void begin(proc_t *p,int me){ op_t o=script[me][p->oi];
  switch(o.op){ case tWR: case tLINE: case tRSZ: p->pc=W1; break; case tTEND: p->pc=T1; break; case tADO: p->pc=A1; break; case tENT: p->i=1; p->pc=A4; break;
    case tUSE: p->pc=S1; break; default: p->pc= me==SURV ? FIN : DONE; } }
static void next_op(proc_t *p,int me){ u8 a=p->oi,b=p->lth,c=p->spb,d=p->spl; ext_t x[NX]; memcpy(x,p->ext,sizeof x);
  memset(p,0,sizeof *p); p->oi=a+1; p->lth=b; p->spb=c; p->spl=d; memcpy(p->ext,x,sizeof x); begin(p,me); }
static int add_ext(G_t*G,proc_t*p,int st,int head,int n,int id){ int i; for(i=0;i<NX;i++) if(!p->ext[i].st){ p->ext[i]=(ext_t){st,head,n,id}; return i; }
  VIOL(5); return 0; }
static void root_changed(G_t*G,int lc,int lp){ G->gen++; if(G->gen>=NGEN){ VIOL(5); return; } G->lc[G->gen]=lc; G->lp[G->gen]=lp; }

static void step1(G_t*G,int me){
  proc_t*p=&G->p[me]; op_t o=script[me][p->oi]; ext_t*e=&p->ext[p->i<NX?p->i:0]; int i,tl; own_t w;
  switch(p->pc){
  /* ---- ltz__table_enter: W1 to W3; table_at reads the directory ------------------------------- */
  case W1: p->g=G->gen; p->rc=G->rc; p->rp=G->rp; GO(W1b);
  case W1b: p->hc=G->ent[p->rc].place; p->hp=p->rp?G->ent[p->rp].place:0; if(M(4)) goto entered; if(p->lth==p->g+1) goto entered; GO(W2);
  case W2: G->th[me]=p->g+1; p->lth=p->g+1; if(M(3)) goto entered; GO(W3);
  case W3: if(G->gen!=p->g) GO(W1); goto entered;
  /* ---- a writer's call --------------------------------------------------------------------------- */
  case X1: if(p->tp) touch(G,p->hp,p->tp); GO(X2);
  case X2: touch(G,p->hc,p->tc); if(o.op==tLINE){ p->left=0; GO(N0); } next_op(p,me); return;
  /* ---- ltz__line_append to cur: reads the last link, takes a line, links it ------------------------ */
  case N0: tl=p->tc; touch(G,p->hc,tl); for(i=0;i<MAXL && G->link[tl][i];i++) touch_line(G,p->hc,tl,G->link[tl][i]);
    if(i==MAXL){ if(p->r) { VIOL(5); return; } next_op(p,me); return; } p->x=i; GO(N1);
  case N1: p->y=G->ent[p->rc].born; if(p->spl && (p->spb==p->y || M(18))){ p->z=p->spl; p->spl=p->spb=0; GO(N4);} GO(N2);
  case N2: tl=p->tc; touch(G,p->hc,tl); p->z=G->used[tl]+1; p->j=G->room[tl];
    if(p->z>p->j || (!M(102) && !p->r && p->tp && G->used[tl]+G->used[p->tp]+SLACK>=p->j)){   /* none is to be had */
      if(G->link[tl][p->x]) { if(p->r) GO(N0); next_op(p,me); return; }
      if(p->r) VIOL(4);
      next_op(p,me); return; }                        /* the writer would resize by itself now */
    GO(N3);
  case N3: tl=p->tc; touch(G,p->hc,tl);
    if(!M(17) && (G->used[tl]+1!=p->z || G->room[tl]!=p->j)) GO(N2);
    G->used[tl]=p->z; GO(N4);
  case N4: tl=p->tc; touch_line(G,p->hc,tl,p->z); if(p->x) touch_line(G,p->hc,tl,G->link[tl][p->x-1]);
    for(i=0;i<MAXL;i++) if(G->link[tl][i]==p->z) VIOL(3);
    if(!G->link[tl][p->x]) G->link[tl][p->x]=p->z; else { p->spb=p->y; p->spl=p->z; if(p->r){ p->z=p->x=p->y=p->j=0; GO(N0);} }
    p->z=p->x=p->y=p->j=0;
    if(p->r){ GO(R9b); }
    next_op(p,me); return;
  /* ---- RESIZE, R9 to R11: migration copies the old table's used lines' worth, one target ------------ */
  case R9: p->left=0; p->r=1; GO(R9a);
  case R9a: touch(G,p->hc,p->tc); if(G->mig[p->tc]){ p->r=0; GO(R11);} GO(R9b);
  case R9b: tl=p->tc; touch(G,p->hp,p->tp); if(p->left<G->used[p->tp] && !G->mig[tl]){ p->left++; p->x=0; GO(N0);} GO(R9c);
  case R9c: touch(G,p->hc,p->tc); G->mig[p->tc]=1; p->r=0; GO(R11);
  case R11: if(G->gen==p->g){ G->rp=0; root_changed(G,p->tc,0); } next_op(p,me); return;
  /* ---- make_table --------------------------------------------------------------------------------------- */
  case E1: if(p->id==NE){ next_op(p,me); return; } p->x=G->ent[p->id].claim;
    if(!p->x){ G->ent[p->id].claim=me+1; GO(M(11)?C1:E2); } GO(E1p);
  /* left by somebody who died while giving it back? First whether its claimer is dead, then its place (105: place first) */
  case E1p: if(M(101) || (M(105) ? G->ent[p->id].place!=0 : !M(104) && (G->up>>(p->x-1)&1))){ p->x=0; p->id++; GO(E1);} GO(E1q);
  case E1q: if(M(105) ? G->up>>(p->x-1)&1 : G->ent[p->id].place!=0){ p->x=0; p->id++; GO(E1);} GO(E1r);
  case E1r: if(G->ent[p->id].claim!=p->x){ p->x=0; p->id++; GO(E1);} G->ent[p->id].claim=me+1; p->x=0; GO(E2);
  case E2: G->ent[p->id].place=0; GO(E3);
  case E3: G->ent[p->id].born=0; p->hd=0; GO(C1);
  case C1: for(i=p->hd;i+p->n<=NG;i++) if(G->own[i].kind==FREE && (p->n<2 || G->own[i+1].kind==FREE)) break;
    if(i+p->n>NG) GO(EF);
    p->hd=i; G->own[i]=(own_t){CLAIM,me+1,p->n}; GO(p->n>1?C2:Z1);
  case C2: w=G->own[p->hd+1]; if(w.kind!=FREE) GO(C3); G->own[p->hd+1]=(own_t){PART,0,p->hd}; GO(Z1);
  case C3: G->own[p->hd]=(own_t){FREE,0,0}; p->hd++; GO(C1);            /* roll back, look further */
  case EF: if(G->ent[p->id].claim==me+1) G->ent[p->id].claim=0; next_op(p,me); return;
  case Z1: if(++G->nl>=NLIFE){ VIOL(5); return; }
    p->z=G->nl; for(i=0;i<p->n;i++) G->life[p->hd+i]=p->z; GO(Z2);
  case Z2: tl=p->z; G->hid[p->hd]=p->id; G->room[tl]=room_of(p->n); GO(M(10)?B2:B0);
  case B0: if(G->own[p->hd].kind!=CLAIM||G->own[p->hd].label!=me+1) VIOL(5); G->own[p->hd]=(own_t){TABLE,me+1,p->n}; p->j=add_ext(G,p,XTABLE,p->hd,p->n,p->id); GO(M(10)?CL1:B1);
  case B1: G->ent[p->id].born=p->g+1; GO(B2);
  case B2: G->ent[p->id].place=p->hd+1; GO(M(10)?B0:M(103)?R8:CL1);
  /* close_lines of the table to be replaced */
  case CL1: touch(G,p->hc,p->tc); p->x=G->used[p->tc]; p->y=G->room[p->tc]; GO(p->x==p->y?R8:CL2);
  case CL2: touch(G,p->hc,p->tc); if(G->used[p->tc]==p->x && G->room[p->tc]==p->y){ G->room[p->tc]=p->x; GO(R8);} GO(CL1);
  case R8: i=p->j; tl=p->z; p->z=p->x=p->y=p->j=0;
    if((G->gen==p->g || M(16)) && G->room[tl]>=G->used[p->tc]+SLACK){ G->rp=p->rc; G->rc=p->id; root_changed(G,tl,p->tc); p->id=p->hd=p->n=0; GO(W1); }
    p->id=p->hd=0; p->i=i; p->ret=W1; GO(M(6)?L5:L1);
  /* ---- leave_table, free_entry ------------------------------------------------------------------------------- */
  case L1: p->x=G->ent[e->id].claim; GO(L2);
  case L2: if(G->ent[e->id].place!=e->head+1 && !M(7)){ p->x=0; GO(L5);} GO(L3);
  case L3: G->ent[e->id].place=0; GO(L4);
  case L4: if(G->ent[e->id].claim==p->x) G->ent[e->id].claim=0; p->x=0; if(M(6)) goto left; GO(L5);
  case L5: if(G->own[e->head].kind!=TABLE||G->own[e->head].label!=me+1) VIOL(5);
    if(G->life[e->head]==G->lc[G->gen]||G->life[e->head]==G->lp[G->gen]) VIOL(8);
    G->own[e->head]=(own_t){CLAIM,me+1,e->n}; e->st=XLEAVING; if(M(6)) GO(L1); goto left;
  /* ---- ltz__tables_tend, then finish_release -------------------------------------------------------------------- */
  case T1: p->g=G->gen; p->rc=G->rc; p->rp=G->rp; p->i=0; GO(T2);
  case T2: for(;p->i<NX && p->ext[p->i].st!=XTABLE;p->i++) ; if(p->i==NX){ p->i=p->r=0; GO(T9); }
    e=&p->ext[p->i]; if(!M(5) && e->id && (p->rc==e->id||p->rp==e->id)) GO(T3); GO(T4);
  case T3: if(G->ent[e->id].place!=e->head+1 && !M(15)) GO(T4);
    if(!p->rp && p->rc==e->id && e->n>1) GO(U1); p->i++; GO(T2);
  case T4: p->y=0; p->j=0; if(G->ent[e->id].place==e->head+1) GO(T5); GO(T6);
  case T5: p->y=G->ent[e->id].born; GO(T6);
  case T6: if(p->j==me) p->j++;
    if(p->j<NPROC && !M(1)){ i=G->up>>p->j&1?G->th[p->j]:0;
      if(i && (M(2)? i-1==p->y : i-1>=p->y && (M(5) || i-1<p->g))){ p->j=p->y=0; p->i++; GO(T2); } p->j++; if(p->j==me) p->j++; if(p->j<NPROC) GO(T6); }
    p->j=p->y=0; if(M(5) && (G->rc==e->id || G->rp==e->id)){ p->i++; GO(T2); }
    p->ret=T2; GO(M(6)?L5:L1);
  case T9: for(;p->i<NX && p->ext[p->i].st!=XLEAVING && p->ext[p->i].st!=XUNKNOWN;p->i++) ; if(p->i==NX){ next_op(p,me); return; }
    e=&p->ext[p->i]; p->j=1; GO(e->n>1?T10:T11);
  case T10: w=G->own[e->head+1]; if(w.kind==PART && w.n==e->head) G->own[e->head+1]=(own_t){FREE,0,0}; GO(T11);
  case T11: w=G->own[e->head]; if(w.kind!=CLAIM||w.label!=me+1) VIOL(5); G->own[e->head]=(own_t){FREE,0,0};
    if(e->st==XUNKNOWN) G->life[e->head]=0;           /* punched */
    memset(e,0,sizeof *e); p->j=0; p->i++; GO(T9);
  /* ---- cut_lines: everything behind the first granule, if no line of it was taken ------------------------------- */
  case U1: tl=G->life[e->head]; if(G->used[tl]>HEADL || G->room[tl]<=HEADL){ p->i++; GO(T2);} p->x=G->used[tl]; p->y=G->room[tl]; GO(U2);
  case U2: tl=G->life[e->head]; if(!M(12) && (G->used[tl]!=p->x || G->room[tl]!=p->y)){ p->x=p->y=0; p->i++; GO(T2);} G->room[tl]=HEADL; p->x=p->y=0; GO(M(13)?U4:U3);
  case U3: if(G->own[e->head+1].kind==PART && G->own[e->head+1].n==e->head) G->own[e->head+1]=(own_t){FREE,0,0}; if(M(13)){ e->n=1; p->i++; GO(T2); } GO(U4);
  case U4: if(G->own[e->head].kind==TABLE && G->own[e->head].label==me+1) G->own[e->head].n=1; if(M(13)) GO(U3); e->n=1; p->i++; GO(T2);
  /* ---- ADOPT process k -------------------------------------------------------------------------------------------- */
  case A1: if(G->st[o.k]!=DEAD || !(G->up>>o.k&1)){ next_op(p,me); return; } p->i=0; GO(A2);
  case A2: for(;p->i<NG && !(G->own[p->i].label==o.k+1);p->i++) ; if(p->i==NG){ p->i=1; GO(M(101)?A4:A9); }
    G->own[p->i].label=me+1; w=G->own[p->i];
    add_ext(G,p,w.kind==TABLE?XTABLE:XUNKNOWN,p->i,w.n,w.kind==TABLE?G->hid[p->i]:0); p->i++; GO(A2);
  case A9: G->up&=~(1<<o.k); p->i=1; if(M(9)||M(101)){ next_op(p,me); return; } GO(A4);
  /* ltz__entries_tend: entries whose claimer is no member any more, and which no table has (101: of this dead one, before its row goes) */
  case A4: if(p->i>=NE){ p->i=0; if(M(101)) GO(A9); next_op(p,me); return; } p->x=G->ent[p->i].claim; if(!p->x||(M(101)&&p->x!=o.k+1)){ p->x=0; p->i++; GO(A4);} GO(M(101)?A5:A4b);
  case A4b: if((G->up>>(p->x-1)&1) && !M(104)){ p->x=0; p->i++; GO(A4);} GO(A5);
  case A5: p->y=G->ent[p->i].place; if(p->y && !M(8)) GO(A6); GO(A8);
  case A6: if(G->own[p->y-1].kind==TABLE) GO(A7); GO(A8);
  case A7: if(G->hid[p->y-1]==p->i){ p->x=p->y=0; p->i++; GO(A4);} GO(A8);
  case A8: if(G->ent[p->i].claim==p->x) G->ent[p->i].claim=0; p->x=p->y=0; p->i++; GO(A4);
  /* ---- somebody else's use of a granule ------------------------------------------------------------------------------ */
  case S1: for(i=NG;i-->0;) if(G->own[i].kind==FREE) break; if(i<0){ next_op(p,me); return; } G->own[i]=(own_t){CLAIM,me+1,1}; p->hd=i; GO(S2);
  case S2: G->life[p->hd]=0; GO(S3);
  case S3: G->own[p->hd]=(own_t){FREE,0,0}; next_op(p,me); return;
  }
  return;
entered: if(!p->hc || (p->rp && !p->hp)) { if(p->g==G->gen) { VIOL(1); return; } GO(W1); }   /* nonsense: not the root any more */
  p->hc--; if(p->hp) p->hp--;
  p->tc=G->lc[p->g]; p->tp=G->lp[p->g];
  if(o.op!=tRSZ) GO(X1);
  if(p->rp) GO(R9);
  if(p->r==2){ next_op(p,me); return; }
  p->n=o.k; p->r=0; p->id=1; if(!p->n){ next_op(p,me); return; }
  GO(E1);
left: i=p->ret; p->ret=0;
  if(i==T2){ p->i++; GO(T2); }
  p->i=0; p->r=2; p->tc=p->tp=0; GO(W1);
}
static void dump(G_t*G,int me,int pc0){ int i,q; static const char *kn[]={"FREE","CLAIM","PART","TABLE"};
  printf("P%d %-4s | root %d{%d,%d} ",me,pcn[pc0],G->gen,G->rc,G->rp);
  for(i=0;i<NG;i++) printf("g%d:%s(%d,%d)L%d ",i,kn[G->own[i].kind],G->own[i].label-1,G->own[i].n,G->life[i]);
  for(i=1;i<NE;i++) printf("e%d{%d,%d,%d} ",i,G->ent[i].claim-1,G->ent[i].place-1,G->ent[i].born);
  printf("th"); for(q=0;q<NPROC;q++) printf(" %d%s",G->th[q]-1,G->st[q]==DEAD?"+":""); 
  for(i=1;i<=G->nl;i++) printf(" L%d:%d/%d",i,G->used[i],G->room[i]); printf("\n"); }
static void solo(G_t*G,int me,int op,int k){ proc_t*p=&G->p[me]; int n; p->oi=MAXOP-1; script[me][MAXOP-1]=(op_t){op,k}; 
  begin(p,me); for(n=0;p->oi==MAXOP-1 && n<2000 && !G->bad;n++){ int pc0=p->pc; step1(G,me); if(trail_on) dump(G,me,pc0); } if(n>=2000) VIOL(7); p->pc=DONE; }
/* The survivor alone adopts, ends the resize; every living process tidies; then all is accounted for. */
static void finish(G_t*G,int me){ int d,q,i,h,stops=0; u8 oi=G->p[me].oi;
  for(d=0;d<NPROC;d++) if(G->st[d]==DEAD && (G->up>>d&1)) solo(G,me,tADO,d);
  if(!M(9) && !M(101)) solo(G,me,tENT,0);          /* the janitor's, once a second */
  if(G->rp) solo(G,me,tRSZ,0);
  for(q=0;q<NPROC;q++) if(G->st[q]==RUN){ G->th[q]=0; G->p[q].lth=0; } else if(G->st[q]==STOP) stops=1;
  for(q=0;q<NPROC;q++) if(G->st[q]==RUN) { u8 o2=G->p[q].oi; solo(G,q,tTEND,0); G->p[q].oi=o2; }
  G->p[me].oi=oi; G->p[me].pc=DONE;
  for(i=0;i<NG && !G->bad;i++){ own_t w=G->own[i];
    if(w.label && G->st[w.label-1]==DEAD) VIOL(11);
    if(w.kind==PART){ h=w.n; if((G->own[h].kind!=TABLE && G->own[h].kind!=CLAIM) || i>=h+G->own[h].n) VIOL(11); w=G->own[h]; if(w.kind==TABLE && i>h && i>=h+1 && G->life[h]==G->lc[G->gen] && G->life[i]!=G->life[h]) VIOL(2); }
    if(!stops && w.kind!=FREE && G->life[w.kind==PART?w.n:i]!=G->lc[G->gen]) VIOL(11); }
  for(i=1;i<NE && !G->bad;i++){ ent_t x=G->ent[i]; int ok;
    if(!x.claim) continue;
    ok = x.place && G->own[x.place-1].kind==TABLE && G->hid[x.place-1]==i;
    if(!ok && G->st[x.claim-1]!=STOP) VIOL(11);
    if(!stops && i!=G->rc) VIOL(11); }
  if(!G->bad && (G->own[G->ent[G->rc].place-1].kind!=TABLE || G->life[G->ent[G->rc].place-1]!=G->lc[G->gen])) VIOL(8);
}
static void step(G_t*G,int me){ int pc0=G->p[me].pc;
  if(pc0==FIN) finish(G,me); else step1(G,me); if(trail_on) dump(G,me,pc0); }
static void die(G_t*G,int q){ if(trail_on) printf("P%d dies at %s\n",q,pcn[G->p[q].pc]); G->st[q]=DEAD; memset(&G->p[q],0,sizeof(proc_t)); }
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
  G->gen=1; G->rc=1; G->nl=1; G->lc[1]=1; G->up=(1<<NPROC)-1;
  G->own[0]=(own_t){TABLE,OWNER0+1,FIRST}; for(i=1;i<FIRST;i++) G->own[i]=(own_t){PART,0,0};
  for(i=0;i<FIRST;i++) G->life[i]=1;
  G->hid[0]=1; G->ent[1]=(ent_t){OWNER0+1,1,1}; G->room[1]=room_of(FIRST); G->used[1]=FIRST_USED; for(i=0;i<FIRST_USED;i++) G->link[1][i]=i+1;
  add_ext(G,&G->p[OWNER0],XTABLE,0,FIRST,1);
  for(q=0;q<NPROC;q++) begin(&G->p[q],q);
  if(getenv("TRAIL")) trail_on=1;
  if(getenv("MUT")) mut=atoi(getenv("MUT"));
}
#undef M
#undef GO
#undef DONE
#undef END
#undef PART

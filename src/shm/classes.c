/* SPDX-License-Identifier: MIT */
/*
 * classes.c - the size classes.
 *
 * Blocks are multiples of 32 bytes: every multiple up to 512, then 16 steps a
 * doubling up to 8 KiB, then 8 steps up to 512 KiB. Larger records are runs.
 * A slab takes as few granules as waste no more than 1/16 at its end.
 */
#include "shm/slab.h"

#include <errno.h>

#define UNITS_LINEAR  16u     /* 512 bytes  */
#define UNITS_FINE    256u    /* 8 KiB      */
#define UNITS_MAX     16384u  /* 512 KiB    */
#define SLAB_GRANULES 32u     /* 2 MiB      */

static_assert(UNITS_LINEAR + 16 * 4 + 8 * 6 <= CLASSES_MAX, "room for all classes");

static uint32_t next_units(uint32_t units)
{
	uint32_t doubling = 1u << (31 - __builtin_clz(units));

	if (units < UNITS_LINEAR)
		return units + 1;
	if (units < UNITS_FINE)
		return units + doubling / 16;
	return units + doubling / 8;
}

/* The layout of a slab of n granules for blocks of so many units; returns the number of blocks. */
static uint32_t lay_out(struct ltz_class *cls, uint32_t units, uint32_t granules)
{
	uint64_t total = (uint64_t)granules << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2);
	uint64_t blocks = total / units, words, first;

	do {
		words = (blocks + 63) / 64;
		first = (sizeof(struct shm_extent) + 2 * words * 8 + 63) / 64 * 64 >> SHM_UNIT_LOG2;
	} while (first + blocks * units > total && blocks--);
	cls->units = units;
	cls->reciprocal = ((UINT64_C(1) << 32) + units - 1) / units;
	cls->first_units = (uint32_t)first;
	cls->blocks = (uint16_t)blocks;
	cls->granules = (uint16_t)granules;
	cls->words = (uint16_t)words;
	return (uint32_t)blocks;
}

static void choose_granules(struct ltz_class *cls, uint32_t units)
{
	for (uint32_t n = 1; n <= SLAB_GRANULES; n++) {
		uint64_t total = (uint64_t)n << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2);
		uint64_t used = (uint64_t)lay_out(cls, units, n) * units;

		if (total - used <= total / 16)
			return;
	}
}

void ltz__classes_init(struct ltz_mem *mem)
{
	uint32_t units = 1;

	mem->classes = 0;
	for (; units <= UNITS_MAX && mem->classes < CLASSES_MAX; units = next_units(units))
		choose_granules(&mem->cls[mem->classes++], units);
	for (uint32_t u = 0, c = 0; u < sizeof(mem->class_of_units); u++) {
		while (mem->cls[c].units < u)
			c++;
		mem->class_of_units[u] = (uint8_t)c;
	}
}

unsigned ltz__class_of(const struct ltz_mem *mem, uint64_t units)
{
	uint32_t low = 0, high = mem->classes;

	if (likely(units < sizeof(mem->class_of_units)))
		return mem->class_of_units[units];
	while (low < high) { /* the first class that is large enough */
		uint32_t middle = low + (high - low) / 2;

		if (mem->cls[middle].units < units)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Where a run's one block begins: behind the header and two words of bits. */
#define RUN_FIRST_REF 4u

int ltz__extent_shape(const struct ltz_mem *mem, uint64_t head, uint64_t owner, struct ltz_shape *shape)
{
	unsigned low = owner_low(owner);
	uint64_t base = head << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2);

	if (owner_kind(owner) == OWNER_SLAB && CLS_INDEX(low) < mem->classes) {
		const struct ltz_class *cls = &mem->cls[CLS_INDEX(low)];

		*shape = (struct ltz_shape){
			.first_ref = base + cls->first_units, .units = cls->units, .blocks = cls->blocks,
			.words = cls->words, .granules = cls->granules,
			.bytes = (uint64_t)cls->units << SHM_UNIT_LOG2,
		};
	} else if (owner_kind(owner) == OWNER_RUN && low > 0) {
		*shape = (struct ltz_shape){
			.first_ref = base + RUN_FIRST_REF, .blocks = 1, .words = 1, .granules = low,
			.bytes = granule_offset(low) - (RUN_FIRST_REF << SHM_UNIT_LOG2),
		};
	} else {
		return -EUCLEAN;
	}
	return head + shape->granules <= mem->granules ? 0 : -EUCLEAN;
}

int ltz__block_place(const struct ltz_mem *mem, uint64_t ref, struct ltz_place *place)
{
	struct ltz_shape shape;
	uint64_t head = ref_granule(ref), owner, index = 0;

	if (ref >= mem->units)
		return -EUCLEAN;
	owner = load_acquire(&mem->owners[head]);
	if (owner_kind(owner) == OWNER_PART) {
		head = owner_part_head(owner);
		if (head >= mem->granules)
			return -EUCLEAN;
		owner = load_acquire(&mem->owners[head]);
	}
	if (ltz__extent_shape(mem, head, owner, &shape) < 0 || ref < shape.first_ref)
		return -EUCLEAN;
	if (shape.units) {
		const struct ltz_class *cls = &mem->cls[CLS_INDEX(owner_low(owner))];
		uint64_t distance = ref - shape.first_ref;

		if (distance >= (uint64_t)shape.blocks * shape.units)
			return -EUCLEAN;
		index = distance * cls->reciprocal >> 32;
		if (index * shape.units != distance)
			return -EUCLEAN;
	} else if (ref != shape.first_ref) {
		return -EUCLEAN;
	}
	place->head = head;
	place->owner = owner;
	place->extent = at_granule(mem, head);
	place->alloc = &place->extent->bits[index / 64];
	place->retired = &place->extent->bits[shape.words + index / 64];
	place->bit = UINT64_C(1) << index % 64;
	place->bytes = shape.bytes;
	return 0;
}

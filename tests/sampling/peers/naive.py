"""The slow, obvious twins of the peers. Imports nothing of the package."""

from collections import Counter

from tests.naive import hamming


def uniform_law(rows, batch_size, groups=None):
    """The exact probability of every ordered batch of distinct patterns."""
    now = {(): 1.0}
    for _ in range(batch_size):
        following = Counter()
        for taken, chance in now.items():
            free = [
                i
                for i in range(len(rows))
                if all(rows[i] != rows[j] for j in taken)
                and (groups is None or all(groups[i] != groups[j] for j in taken))
            ]
            if not free:
                following[taken] += chance
            for i in free:
                longer = (*taken, i)
                following[longer] += chance / len(free)
        now = following
    return now


def nearest(rows, n_neighbors, skip_nearest=0):
    """For each row the numbers of the nearest others, ties in the order of the numbers."""
    lists = []
    for i in range(len(rows)):
        others = sorted((hamming(rows[i], rows[j]), j) for j in range(len(rows)) if j != i)
        lists.append([j for _, j in others][skip_nearest : skip_nearest + n_neighbors])
    return lists


def listed(neighbors, indices):
    """Lists among `indices`, numbered by place, without the instance itself and without -1."""
    return [[indices.index(j) for j in neighbors[i] if j != i and j in indices] for i in indices]


def walk_law(lists, members, anchor, batch_size, restart, patience):
    """The exact probability of every ordered batch that a walk from `anchor` gathers.

    Walks are followed step by step: (batch, start, here, idle) -> probability.
    """
    node_of = {i: u for u, group in enumerate(members) for i in group}
    law = Counter()
    first = node_of[anchor]
    now = {((anchor,), first, first, 0): 1.0}
    while now:
        following = Counter()
        for (batch, start, here, idle), chance in now.items():
            if len(batch) == batch_size:
                law[batch] += chance
                continue
            visited = {node_of[i] for i in batch}
            steps = Counter()
            for v in lists[here]:
                steps[v] += (1 - restart) / len(lists[here])
            steps[start] += restart if lists[here] else 1.0
            for v, p in steps.items():
                if v not in visited:
                    for i in members[v]:
                        following[(*batch, i), start, v, 0] += chance * p / len(members[v])
                elif idle + 1 == patience:
                    others = [w for w in range(len(members)) if w not in visited]
                    for w in others:
                        for i in members[w]:
                            p_instance = chance * p / len(others) / len(members[w])
                            following[(*batch, i), w, w, 0] += p_instance
                else:
                    following[batch, start, v, idle + 1] += chance * p
        now = following
    return law


def reciprocal_pairs(lists):
    return [[u, v] for u in range(len(lists)) for v in lists[u] if u < v and u in lists[v]]


def instance_edges(lists, members):
    """The joined pairs of instances, smaller number first."""
    edges = set()
    for u, v in reciprocal_pairs(lists):
        a, b = members[u], members[v]
        for t in range(max(len(a), len(b))):
            edges.add(tuple(sorted((a[t % len(a)], b[t % len(b)]))))
    return edges


def equalize(parts, edges, group_size):
    """Parts made equal, one instance at a time."""
    n = len(parts)
    n_groups = -(-n // group_size)
    groups = {p: [i for i in range(n) if parts[i] == p] for p in range(n_groups)}
    room = dict.fromkeys(range(n_groups), group_size)
    if n % group_size:
        smallest = min(groups, key=lambda p: (len(groups[p]), p))
        room[smallest] = n % group_size
        last = groups.pop(smallest)
        room_of_last = room.pop(smallest)
        groups = dict(enumerate([*groups.values(), last]))
        room = dict(enumerate([*room.values(), room_of_last]))

    def edges_to(i, others):
        return sum((min(i, j), max(i, j)) in edges for j in others)

    moved = []
    for p, group in groups.items():
        kept = sorted(group, key=lambda i: (-edges_to(i, group), i))
        moved += kept[room[p] :]
        groups[p] = kept[: room[p]]
    for i in sorted(moved):
        open_groups = [p for p in groups if len(groups[p]) < room[p]]
        best = max(open_groups, key=lambda p: (edges_to(i, groups[p]), -p))
        groups[best].append(i)
    result = [0] * n
    for p, group in groups.items():
        for i in group:
            result[i] = p
    return result

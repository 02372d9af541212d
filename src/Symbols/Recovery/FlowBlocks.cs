using KTrace.Symbols.Disassembly;
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Recovery;

/// <summary>Makes blocks of what was decoded, and connects them. Used once.</summary>
/// <param name="decoded">In the order of decoding.</param>
/// <param name="at">Where in that list the instruction of an address is.</param>
/// <param name="leaders">Where blocks begin.</param>
/// <param name="stops">Instructions behind which the code does not simply go on.</param>
/// <param name="edges">All other ways, from instruction to instruction.</param>
internal sealed class FlowBlocks(
    in ElfSymbol function, List<MachineInstruction> decoded, Dictionary<ulong, int> at, HashSet<ulong> leaders, HashSet<ulong> stops,
    List<(ulong From, ulong To, FlowEdgeKind Kind, int Fixup)> edges)
{
    private const int MaximumInstructions = 6000;
    private const int MaximumBlocks = 1500;

    private readonly ElfSymbol _function = function;

    public FunctionFlow? Connect(List<FlowExit> exits, List<Alternative> alternatives)
    {
        // Blocks begin at leaders; an instruction that was reached by falling through from overlapping code keeps its place in the order of decoding, so each run is sorted out by address.
        var order = new List<MachineInstruction>(decoded.Count);
        var starts = new Dictionary<ulong, int>();
        var runs = new List<(int First, int Count, ulong Last, ulong End)>();
        foreach (var leader in leaders.Where(at.ContainsKey).Order())
        {
            var first = order.Count;
            var address = leader;
            ulong last;
            while (true)
            {
                order.Add(decoded[at[address]]);
                last = address;
                address = order[^1].End;
                if (stops.Contains(last) || leaders.Contains(address) || !at.ContainsKey(address))
                {
                    break;
                }

                if (order.Count > MaximumInstructions * 2)
                {
                    return null;
                }
            }

            starts.Add(leader, runs.Count);
            runs.Add((first, order.Count - first, last, address));
        }

        if (runs.Count > MaximumBlocks || !starts.ContainsKey(_function.Value))
        {
            return null;
        }

        var successors = new List<(int To, FlowEdgeKind Kind, int Fixup)>[runs.Count];
        var endingAt = new Dictionary<ulong, List<int>>();
        for (var i = 0; i < runs.Count; i++)
        {
            successors[i] = [];
            if (!endingAt.TryGetValue(runs[i].Last, out var list))
            {
                endingAt.Add(runs[i].Last, list = []);
            }

            list.Add(i);
            if (!stops.Contains(runs[i].Last) && starts.TryGetValue(runs[i].End, out var next))
            {
                successors[i].Add((next, FlowEdgeKind.After, 0));
            }
        }

        foreach (var (from, to, kind, fixup) in edges)
        {
            if (!starts.TryGetValue(to, out var target))
            {
                return null;
            }

            if (kind == FlowEdgeKind.After)
            {
                if (!endingAt.TryGetValue(from, out var sources))
                {
                    return null;
                }

                foreach (var source in sources)
                {
                    AddOnce(successors[source], (target, kind, fixup));
                }
            }
            else if (starts.TryGetValue(from, out var source))
            {
                AddOnce(successors[source], (target, kind, fixup));
            }
            else
            {
                return null;
            }
        }

        return Order(order, runs, successors, starts[_function.Value], exits, alternatives);
    }

    private static void AddOnce(List<(int, FlowEdgeKind, int)> list, (int, FlowEdgeKind, int) edge)
    {
        if (!list.Contains(edge))
        {
            list.Add(edge);
        }
    }

    private FunctionFlow Order(
        List<MachineInstruction> order, List<(int First, int Count, ulong Last, ulong End)> runs, List<(int To, FlowEdgeKind Kind, int Fixup)>[] successors, int entry,
        List<FlowExit> exits, List<Alternative> alternatives)
    {
        var number = new int[runs.Count];
        var postOrder = new List<int>(runs.Count);
        var stack = new Stack<(int Block, int Next)>();
        stack.Push((entry, 0));
        number[entry] = 1;
        while (stack.TryPop(out var top))
        {
            if (top.Next < successors[top.Block].Count)
            {
                stack.Push((top.Block, top.Next + 1));
                var to = successors[top.Block][top.Next].To;
                if (number[to] == 0)
                {
                    number[to] = 1;
                    stack.Push((to, 0));
                }
            }
            else
            {
                postOrder.Add(top.Block);
            }
        }

        var blocks = new FlowBlock[postOrder.Count];
        var instructions = new List<MachineInstruction>(order.Count);
        Array.Fill(number, -1);
        for (var i = 0; i < blocks.Length; i++)
        {
            var run = postOrder[blocks.Length - 1 - i];
            number[run] = i;
            blocks[i] = new FlowBlock(i, instructions.Count, runs[run].Count);
            for (var k = 0; k < runs[run].Count; k++)
            {
                instructions.Add(order[runs[run].First + k]);
            }
        }

        for (var i = 0; i < blocks.Length; i++)
        {
            foreach (var (to, kind, fixup) in successors[postOrder[blocks.Length - 1 - i]])
            {
                blocks[i].Successors.Add(number[to]);
                blocks[number[to]].Predecessors.Add(new FlowEdge(i, kind, fixup));
            }
        }

        return new FunctionFlow(_function.Value, _function.Name, [.. instructions], blocks, exits, alternatives);
    }
}

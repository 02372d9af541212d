// What the kernel's own function_graph tracer shows (kernel/trace/trace_functions_graph.c), from a trace with return records: calls nested in calls, with the time that each took. Records come in
// the order in which things happened, so that nesting follows from order alone: a call that is open when another is made by the same task is around it. An interrupt runs in the task that it
// interrupts, and the idle tasks of CPUs, which share pid 0, are told apart by their CPU. A call without a recorded return is a line and nests nothing.
using System.Runtime.InteropServices;
using KTrace.Symbols;

namespace KTrace.Tracing;

/// <summary>The calls of a trace as a tree for each task, in the order in which they happened.</summary>
public sealed class FunctionGraph
{
    private readonly List<Node> _nodes = [];

    // A node's number where it is entered, its complement where it is left.
    private readonly List<int> _events = [];
    private readonly HashSet<int> _returning = [];

    private FunctionGraph(TraceRecord.Header header, TracepointTable tracepoints) => (Header, Tracepoints) = (header, tracepoints);

    private sealed class Node(TraceRecord.Hit hit)
    {
        public TraceRecord.Hit Hit => hit;

        public TraceRecord.Return? Return { get; set; }

        public (int, int) Stack => hit.Task is { Pid: not 0 } task ? (task.Pid, -1) : (0, hit.Cpu);

        public CodeContext Context => hit.Context?.Preempt.Context ?? CodeContext.Task;
    }

    public TraceRecord.Header Header { get; }

    public TracepointTable Tracepoints { get; }

    /// <summary>Calls in the graph.</summary>
    public int Calls => _nodes.Count;

    /// <summary>All hits of the trace.</summary>
    public long HitCount { get; private set; }

    /// <summary>Returns of calls in the graph.</summary>
    public int Returns { get; private set; }

    /// <summary>What is not whole about the file, for people, or null.</summary>
    public string? Incomplete { get; private set; }

    /// <param name="reader">Best without registers: they are not needed.</param>
    /// <param name="filter">Which calls are part of it.</param>
    /// <param name="only">The call of this hit alone, with all that happened in it; null: all.</param>
    /// <exception cref="TraceQueryException">There is no such hit.</exception>
    /// <exception cref="MalformedFileException">The file says something that cannot be true.</exception>
    public static FunctionGraph Read(TraceReader reader, HitFilter filter, HitPick? only = null)
    {
        var tracepoints = new TracepointTable();
        var graph = new FunctionGraph(reader.Header, tracepoints);
        var nodes = new Dictionary<long, int>();
        foreach (TraceRecord record in reader.ReadAll())
        {
            tracepoints.Observe(record);
            switch (record)
            {
                case TraceRecord.Hit hit:
                    graph.HitCount++;
                    if (filter.Matches(hit, tracepoints))
                    {
                        nodes[hit.Sequence] = graph._nodes.Count;
                        graph._events.Add(graph._nodes.Count);
                        graph._nodes.Add(new Node(hit));
                    }

                    break;
                case TraceRecord.Return returned when nodes.Remove(returned.HitSequence, out int node):
                    graph._events.Add(~node);
                    graph._nodes[node].Return = returned;
                    graph._returning.Add(graph._nodes[node].Hit.Tracepoint);
                    graph.Returns++;
                    break;
            }
        }

        graph.Incomplete = reader.Incomplete;
        if (only is not null)
        {
            graph.Keep(reader.File, only);
        }

        return graph;
    }

    /// <summary>Top to bottom.</summary>
    public IEnumerable<GraphLine> Lines()
    {
        var open = new Dictionary<(int, int), List<int>>();
        var contexts = new Dictionary<(int, int), CodeContext>();
        var running = new Dictionary<int, TraceTask?>();
        for (int i = 0; i < _events.Count; i++)
        {
            bool isEnter = _events[i] >= 0;
            int number = isEnter ? _events[i] : ~_events[i];
            Node node = _nodes[number];
            int cpu = isEnter ? node.Hit.Cpu : node.Return!.Cpu;
            if (!running.TryGetValue(cpu, out TraceTask? task) || !IsSame(task, node.Hit.Task))
            {
                yield return new GraphLine.Switch(cpu, task, node.Hit.Task);
                running[cpu] = node.Hit.Task;
            }

            if (!open.TryGetValue(node.Stack, out List<int>? stack))
            {
                open[node.Stack] = stack = [];
            }

            // Calls of the same task around it; a return may come when calls inside are open whose return comes later, or never.
            int depth = isEnter ? stack.Count : stack.LastIndexOf(number);
            CodeContext before = contexts.GetValueOrDefault(node.Stack);
            if (before != node.Context)
            {
                yield return new GraphLine.Context(cpu, depth, before, node.Context);
                contexts[node.Stack] = node.Context;
            }

            if (!isEnter)
            {
                stack.RemoveAt(depth);
                yield return new GraphLine.Leave(cpu, depth, node.Hit, node.Return!, DurationOf(node));
            }
            else if (node.Return is null || (i + 1 < _events.Count && _events[i + 1] == ~number))
            {
                yield return new GraphLine.Call(cpu, depth, node.Hit, node.Return, DurationOf(node), node.Return is null && _returning.Contains(node.Hit.Tracepoint));
                i += node.Return is null ? 0 : 1;
            }
            else
            {
                stack.Add(number);
                yield return new GraphLine.Enter(cpu, depth, node.Hit);
            }
        }
    }

    private static bool IsSame(TraceTask? a, TraceTask? b) => a?.Pid == b?.Pid && a?.Comm == b?.Comm;

    private static GraphDuration? DurationOf(Node node) => node.Return switch
    {
        null => null,
        { Duration: { } ticks } => OfTicks(ticks, node.Return.Clock),
        { Clock: { } end } when node.Hit.Clock is { } start => (end.Ticks >= start.Ticks ? OfTicks(end.Ticks.Value - start.Ticks!.Value, end) : (GraphDuration?)null)
            ?? Between(start.Nanoseconds, end.Nanoseconds, GraphUnit.Nanoseconds)
            ?? Between(start.Instructions, end.Instructions, GraphUnit.Instructions)
            ?? Between(start.Jiffies, end.Jiffies, GraphUnit.Jiffies),
        _ => null,
    };

    private static GraphDuration OfTicks(ulong ticks, TraceClock? clock) => clock?.Rate is { } rate
        ? new GraphDuration((ulong)(ticks / rate.TicksPerSecond * 1e9), GraphUnit.Nanoseconds)
        : new GraphDuration(ticks, GraphUnit.Ticks);

    private static GraphDuration? Between(ulong? start, ulong? end, GraphUnit unit) => end >= start ? new GraphDuration(end.Value - start!.Value, unit) : null;

    /// <summary>Leaves one call, and what its task did until it returned.</summary>
    private void Keep(string file, HitPick only)
    {
        int wanted = only switch
        {
            HitPick.First => 0,
            HitPick.Last => _nodes.Count - 1,
            HitPick.Number number => _nodes.FindIndex(n => n.Hit.Sequence == number.Sequence),
            _ => -1,
        };
        if (wanted < 0 || wanted >= _nodes.Count)
        {
            throw new TraceQueryException($"{file}: no hit #{only}{(_nodes.Count == 0 ? "" : $": there are #{_nodes[0].Hit.Sequence} to #{_nodes[^1].Hit.Sequence}")}");
        }

        Node call = _nodes[wanted];
        int from = _events.IndexOf(wanted);
        int to = call.Return is null ? from : _events.IndexOf(~wanted, from);
        Span<int> inside = CollectionsMarshal.AsSpan(_events)[from..(to + 1)];
        var kept = new List<int>();
        var entered = new HashSet<int>();
        foreach (int one in inside)
        {
            int number = one >= 0 ? one : ~one;
            // What was entered before and is left inside belongs to no call of this tree.
            if (_nodes[number].Stack == call.Stack && (one >= 0 ? entered.Add(number) : entered.Contains(number)))
            {
                kept.Add(one);
            }
        }

        _events.Clear();
        _events.AddRange(kept);
    }
}

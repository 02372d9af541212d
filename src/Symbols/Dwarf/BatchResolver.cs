// Many addresses at once. Sorted by unit, so that each unit's abbreviations, functions and lines are decoded once, into buffers that the next unit
// reuses, and its pages of the file's mapping are given back: a batch over all of a kernel's 174 MB of DIEs stays far below that in memory.
using KTrace.Symbols.Elf;

namespace KTrace.Symbols.Dwarf;

/// <summary>What a batch found: for each address the run of frames that stands for it.</summary>
internal sealed class BatchResult
{
    private GrowingArray<ResolvedFrame>[] _frames = [];
    private SourceFiles[] _files = [];
    private readonly int[] _first;
    private readonly byte[] _worker;
    private readonly ushort[] _count;
    private readonly int[] _unit; // plus one
    private readonly bool[] _byLinesOnly;

    public BatchResult(int addresses)
    {
        _unit = new int[addresses];
        _byLinesOnly = new bool[addresses];
        _first = new int[addresses];
        _worker = new byte[addresses];
        _count = new ushort[addresses];
    }

    /// <summary>How many frames the address at <paramref name="index"/> of the input has; 0 when DWARF does not know it.</summary>
    public int FrameCount(int index) => _count[index];

    /// <summary>Frame <paramref name="number"/> of an address, 0 the innermost.</summary>
    public ref readonly ResolvedFrame Frame(int index, int number) => ref _frames[_worker[index]][_first[index] + number];

    /// <summary>The unit that claims the address, by the offset of its header; -1 when none does.</summary>
    public int Unit(int index) => _unit[index] - 1;

    /// <summary>The unit does not claim the address itself (.debug_aranges, DW_AT_ranges), but its line table covers it.</summary>
    public bool IsByLinesOnly(int index) => _byLinesOnly[index];

    /// <summary>The path of a frame's file as UTF-8.</summary>
    public ReadOnlySpan<byte> Path(int index, int file) => _files[_worker[index]].Path(file);

    internal void SetWorkers(int count) => (_frames, _files) = (new GrowingArray<ResolvedFrame>[count], new SourceFiles[count]);

    internal void SetWorker(int worker, GrowingArray<ResolvedFrame> frames, SourceFiles files) => (_frames[worker], _files[worker]) = (frames, files);

    internal void SetUnit(int index, int unit, bool byLinesOnly) => (_unit[index], _byLinesOnly[index]) = (unit + 1, byLinesOnly);

    internal void Copy(int from, int to) => (_first[to], _worker[to], _count[to]) = (_first[from], _worker[from], _count[from]);

    internal void Set(int index, int worker, int first, int count)
    {
        _first[index] = first;
        _worker[index] = (byte)worker;
        _count[index] = (ushort)Math.Min(count, ushort.MaxValue);
    }
}

/// <summary>Resolves batches of addresses of one object, on as many threads as pay.</summary>
internal sealed class BatchResolver
{
    private const int ReleaseEvery = 4 << 20;
    private const int FaultAround = 64 << 10;

    // Below this many units a second thread costs more than it brings.
    private const int UnitsForThreads = 16;
    private const int MaximumWorkers = 4;

    private readonly DwarfSections _sections;
    private readonly UnitIndex _index;
    private readonly ElfSymbolTable _symbols;
    private readonly bool _shortPaths;

    /// <param name="sections">The object's debug sections.</param>
    /// <param name="index">Which unit holds an address.</param>
    /// <param name="symbols">For telling a hole between functions from a function that is nested somewhere deep.</param>
    /// <param name="shortPaths">Paths without the compilation directory.</param>
    public BatchResolver(DwarfSections sections, UnitIndex index, ElfSymbolTable symbols, bool shortPaths)
    {
        _sections = sections;
        _index = index;
        _symbols = symbols;
        _shortPaths = shortPaths;
    }

    /// <summary>
    /// Frames for each address. Damage costs the addresses of the damaged unit only: they come out empty.
    /// </summary>
    public BatchResult Resolve(ReadOnlySpan<ulong> addresses)
    {
        var count = addresses.Length;
        var sorted = addresses.ToArray();
        var order = new int[count];
        for (var i = 0; i < count; i++)
        {
            order[i] = i;
        }

        AddressSort.Sort(sorted, order, count);
        var result = new BatchResult(count);
        var byUnit = new ulong[count];
        var positions = new int[count];
        var found = 0;
        ulong sectionStart = 0;
        for (var i = 0; i < count; i++)
        {
            var unit = _index.Find(sorted[i]);
            var byLines = unit < 0 && _symbols.TryFindSection(sorted[i], out var section, out sectionStart) && section.IsExecutable;
            if (byLines)
            {
                unit = _index.FindByLines(sorted[i], sectionStart);
            }

            if (unit >= 0)
            {
                result.SetUnit(order[i], unit, byLines);
                byUnit[found] = (uint)unit;
                positions[found++] = i;
            }
        }

        AddressSort.Sort(byUnit, positions, found);
        var batch = new Batch
        {
            Units = byUnit, Addresses = new ulong[found], Inputs = new int[found], Starts = new GrowingNumbers(256),
        };
        for (var i = 0; i < found; i++)
        {
            batch.Addresses[i] = sorted[positions[i]];
            batch.Inputs[i] = order[positions[i]];
            if (i == 0 || byUnit[i] != byUnit[i - 1])
            {
                batch.Starts.Add(i);
            }
        }

        var units = batch.Starts.Count;
        batch.Starts.Add(found);
        var workers = units < UnitsForThreads ? 1 : Math.Min(Environment.ProcessorCount, MaximumWorkers);
        result.SetWorkers(workers);
        var threads = new Thread[workers - 1];
        for (var worker = 1; worker < workers; worker++)
        {
            var number = worker;
            threads[worker - 1] = new Thread(() => Work(batch, number, result)) { IsBackground = true };
            threads[worker - 1].Start();
        }

        Work(batch, 0, result);
        foreach (var thread in threads)
        {
            thread.Join();
        }

        if (batch.Failure is { } failure)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(failure);
        }

        return result;
    }

    private sealed class Batch
    {
        public required ulong[] Units;
        public required ulong[] Addresses;
        public required int[] Inputs;

        /// <summary>Where each unit's addresses start, and the end of the last.</summary>
        public required GrowingNumbers Starts;

        public int Next;
        public Exception? Failure;
    }

    private void Work(Batch batch, int worker, BatchResult result)
    {
        try
        {
            var frames = new GrowingArray<ResolvedFrame>(1024);
            var files = new SourceFiles(_sections, _shortPaths);
            result.SetWorker(worker, frames, files);
            var symbols = new UnitSymbols(_sections, new UnitFinder(_sections, _index).Find);
            var released = -1;
            while (true)
            {
                var run = Interlocked.Increment(ref batch.Next) - 1;
                if (run >= batch.Starts.Count - 1)
                {
                    break;
                }

                var (first, end) = (batch.Starts[run], batch.Starts[run + 1]);
                var unit = (int)batch.Units[first];
                ResolveUnit(batch, worker, result, symbols, files, frames, first, end);
                if (released < 0)
                {
                    released = unit;
                }

                if (unit - released > ReleaseEvery)
                {
                    Release(_sections.Info, released, unit);
                    released = unit;
                }
            }

            if (released >= 0)
            {
                Release(_sections.Info, released, _sections.Info.Length);
            }
        }
        catch (Exception e)
        {
            // Anything but damage, which ResolveUnit takes: out of memory, or a mistake of ours. The caller's thread reports it.
            batch.Failure = e;
        }
    }

    private void ResolveUnit(
        Batch batch, int worker, BatchResult result, UnitSymbols symbols, SourceFiles files, GrowingArray<ResolvedFrame> frames, int first, int end)
    {
        try
        {
            symbols.Load((int)batch.Units[first]);
        }
        catch (MalformedFileException)
        {
            return;
        }

        var wanted = new ReadOnlySpan<ulong>(batch.Addresses, first, end - first);
        for (var i = first; i < end; i++)
        {
            if (i > first && batch.Addresses[i] == batch.Addresses[i - 1])
            {
                result.Copy(batch.Inputs[i - 1], batch.Inputs[i]);
                continue;
            }

            var start = frames.Count;
            try
            {
                symbols.TryResolve(batch.Addresses[i], wanted, files, frames);
                if ((frames.Count == start || frames[start].Name.IsNone) && IsInsideFunction(batch.Addresses[i]) && symbols.GoDeep())
                {
                    frames.Truncate(start);
                    symbols.TryResolve(batch.Addresses[i], wanted, files, frames);
                }
            }
            catch (MalformedFileException)
            {
                frames.Truncate(start);
            }

            result.Set(batch.Inputs[i], worker, start, frames.Count - start);
        }
    }

    private bool IsInsideFunction(ulong address) =>
        _symbols.TryFindNearestIndex(address, out int index) && _symbols.At(index) is var symbol && symbol.Type == ElfSymbol.TypeFunction
        && address - symbol.Value < symbol.Size;

    // A fault maps its neighbourhood as well, up to 64 KB on each side: what lies there was given back before, or will be touched again for little.
    private static void Release(SectionData section, int from, int to)
    {
        from = Math.Max(0, from - FaultAround);
        section.Release(from, (int)Math.Min((long)to + FaultAround, section.Length) - from);
    }
}

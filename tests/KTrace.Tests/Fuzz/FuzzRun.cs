// One reader, many damaged inputs. What is checked of each case: that nothing but the reader's declared exceptions comes out, that it ends (processor
// time of its thread, so that a busy machine does not matter), that it allocates no more than a bound, and that deep recursion stays within a
// small stack. A case is known by its reader and number: the same two give the same bytes again, on machines with the same compilers.
//
//   KTRACE_FUZZ=READER:NUMBER ./test Fuzz          one case, again
//   KTRACE_FUZZ=READER:FIRST-LAST ./test Fuzz      a run of cases
//
// A stack overflow ends the whole test process; the file ktrace-fuzz/READER.case in the temporary folder then holds the number of the case.
using System.Globalization;
using System.IO.MemoryMappedFiles;
using System.Runtime.InteropServices;
using KTrace.Tests.Support;

namespace KTrace.Tests.Fuzz;

/// <summary>What came of a run.</summary>
internal sealed record FuzzReport(string Reader, int Cases, long Answers, long Refusals, long MostAllocated, TimeSpan Longest)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture,
        $"{Reader}: {Cases} cases, {Answers} answers, {Refusals} refusals, at most {MostAllocated >> 10} KiB and {Longest.TotalMilliseconds:F0} ms a case");
}

internal static class FuzzRun
{
    /// <summary>Processor time of one case. Honest inputs take milliseconds.</summary>
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(10);

    // A thread of the pool has 1.5 MB and more.
    private const int StackSize = 1 << 20;

    /// <summary>The case or cases that KTRACE_FUZZ asks for: null for the usual ones, an empty range for another reader's.</summary>
    public static (int First, int Count)? Wanted(string reader)
    {
        if (Environment.GetEnvironmentVariable("KTRACE_FUZZ") is not { Length: > 0 } text)
        {
            return null;
        }

        var (name, numbers) = text.Split(':') is [var n, var r] ? (n, r) : (text, "0-99");
        var range = numbers.Split('-').Select(n => int.Parse(n, CultureInfo.InvariantCulture)).ToArray();
        return name == reader ? (range[0], range[^1] - range[0] + 1) : (0, 0);
    }

    /// <summary>Runs cases [first, first + count). Fails the test at the first case that is not answered as declared.</summary>
    public static FuzzReport Run(FuzzReader reader, int first, int count)
    {
        using var folder = new ScratchFolder();
        var run = new Worker(reader, folder, first, count);
        run.Go(Limit);
        return run.Report;
    }

    /// <summary>One input as it is, with the checks of a case: for what was made by hand to do harm.</summary>
    public static FuzzReport RunAsItIs(FuzzReader reader, FuzzSeed seed)
    {
        using var folder = new ScratchFolder();
        var run = new Worker(reader with { Seeds = _ => [seed] }, folder, 0, 1) { IsAsItIs = true };
        run.Go(Limit);
        return run.Report;
    }

    private static Random RandomFor(string reader, int number)
    {
        // Not string.GetHashCode: that differs from run to run.
        var hash = 2166136261u;
        foreach (var c in reader)
        {
            hash = (hash ^ c) * 16777619;
        }

        return new Random(unchecked((int)(hash ^ ((uint)number * 2654435761))));
    }

    [DllImport("libc")]
    private static extern int gettid();

    private sealed class Worker(FuzzReader reader, ScratchFolder folder, int first, int count)
    {
        private readonly string _sign = Path.Combine(Directory.CreateDirectory(Path.Combine(Path.GetTempPath(), "ktrace-fuzz")).FullName, reader.Name + ".case");
        private string? _failure;
        private FuzzCase? _current;
        private volatile int _number = -1;
        private volatile int _thread;
        private long _answers;
        private long _refusals;
        private long _mostAllocated;
        private long _longest;

        public bool IsAsItIs { get; init; }

        public FuzzReport Report => new(reader.Name, count, _answers, _refusals, _mostAllocated, TimeSpan.FromTicks(_longest));

        public void Go(TimeSpan limit)
        {
            var thread = new Thread(Work, StackSize) { IsBackground = true };
            thread.Start();
            var (seen, atStart) = (-1, TimeSpan.Zero);
            while (!thread.Join(100))
            {
                var used = ProcessorTime(_thread);
                if (_number != seen)
                {
                    (seen, atStart) = (_number, used);
                }
                else if (seen >= first && used - atStart > limit)
                {
                    // The thread cannot be ended; it goes with the process.
                    Assert.Fail(Describe(seen, $"has not ended after {limit.TotalSeconds:F0} s of processor time"));
                }
            }

            if (_failure is not null)
            {
                Assert.Fail(_failure);
            }

            File.Delete(_sign);
        }

        private void Work()
        {
            _thread = gettid();
            try
            {
                var seeds = reader.Seeds(folder);
                Assert.NotEmpty(seeds);
                using var sign = MemoryMappedFile.CreateFromFile(_sign, FileMode.Create, null, 64);
                using var view = sign.CreateViewAccessor();
                if (!IsAsItIs)
                {
                    Honest(seeds);
                }

                for (var number = first; number < first + count && _failure is null; number++)
                {
                    var text = System.Text.Encoding.ASCII.GetBytes(number.ToString(CultureInfo.InvariantCulture).PadRight(10) + "\n");
                    view.WriteArray(0, text, 0, text.Length);
                    _number = number;
                    One(seeds, number);
                }
            }
            catch (Exception e)
            {
                _failure ??= $"{reader.Name}: the run itself failed: {e}";
            }
        }

        // Damage to what was refused from the start would test nothing. Statics of the readers are made here, and charged to no case.
        private void Honest(IReadOnlyList<FuzzSeed> seeds)
        {
            foreach (var seed in seeds)
            {
                var one = new FuzzCase(reader, seed, seed.Parts, folder.Path, 0, RandomFor(reader.Name, 0));
                one.Walk();
                one.Clean();
                // Questions about what is not there are refused even then.
                Assert.True(one.Answers > one.Refusals, $"the undamaged {seed.Name}: {one.Answers} answers, {one.Refusals} refusals");
            }
        }

        private void One(IReadOnlyList<FuzzSeed> seeds, int number)
        {
            var random = RandomFor(reader.Name, number);
            var seed = seeds[number % seeds.Count];
            var one = _current = new FuzzCase(reader, seed, IsAsItIs ? seed.Parts : Damage(seed, random), folder.Path, number, random);
            var allocated = GC.GetAllocatedBytesForCurrentThread();
            var started = System.Diagnostics.Stopwatch.GetTimestamp();
            try
            {
                one.Walk();
            }
            catch (Exception e) when (reader.IsDeclared(e) is var complaint)
            {
                if (complaint is not null)
                {
                    _failure = Describe(number, $"an exception {complaint}: {e}");
                    return;
                }

                _refusals++;
            }
            finally
            {
                one.Clean();
            }

            _answers += one.Answers;
            _refusals += one.Refusals;
            _longest = Math.Max(_longest, System.Diagnostics.Stopwatch.GetElapsedTime(started).Ticks);
            allocated = GC.GetAllocatedBytesForCurrentThread() - allocated;
            _mostAllocated = Math.Max(_mostAllocated, allocated);
            if (allocated > reader.AllocationLimit + (64L * one.Parts.Values.Sum(p => (long)p.Length)))
            {
                _failure = Describe(number, $"allocated {allocated >> 20} MiB");
            }
        }

        private Dictionary<string, byte[]> Damage(FuzzSeed seed, Random random)
        {
            var parts = seed.Parts.ToDictionary();
            var victims = seed.Victims ?? [.. parts.Keys.Where(k => parts[k].Length > 0)];
            // Mostly one part; what two wrong ones do to each other is rarer.
            for (var left = random.Next(4) == 0 ? 2 : 1; left > 0; left--)
            {
                var victim = victims[random.Next(victims.Length)];
                parts[victim] = reader.Mutate[random.Next(reader.Mutate.Length)](parts[victim], random);
            }

            return parts;
        }

        private string Describe(int number, string what)
        {
            var saved = Path.Combine(Path.GetDirectoryName(_sign)!, string.Create(CultureInfo.InvariantCulture, $"{reader.Name}-{number}"));
            Directory.CreateDirectory(saved);
            foreach (var (name, bytes) in _current!.Parts)
            {
                File.WriteAllBytes(Path.Combine(saved, name.Replace('/', '_')), bytes);
            }

            return string.Create(CultureInfo.InvariantCulture,
                $"{reader.Name}, case {number} (seed \"{_current.Seed.Name}\"): {what}\nagain: KTRACE_FUZZ={reader.Name}:{number} ./test Fuzz; its bytes: {saved}");
        }

        private static TimeSpan ProcessorTime(int thread)
        {
            try
            {
                // proc(5): utime and stime are fields 14 and 15, in ticks of 10 ms; the name in field 2 may have spaces.
                var fields = File.ReadAllText($"/proc/self/task/{thread}/stat").Split(") ")[^1].Split(' ');
                return TimeSpan.FromMilliseconds(10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)));
            }
            catch (IOException)
            {
                return TimeSpan.Zero;
            }
        }
    }
}

// Arguments of a real boot, against gdb 13.1's of the same boot (Fixtures/gdb-…-by-hand.txt: the module's symbols were added by hand). The two boots are not one, so pointers
// to what was allocated differ; numbers, static addresses and what is known at all must not.
using System.Globalization;
using System.Text.RegularExpressions;
using KTrace.Tests.Tracing;
using KTrace.Tracing;
using Xunit.Abstractions;

namespace KTrace.Tests.Cli;

[Collection(nameof(BootsCollection))]
public sealed partial class ArgumentsTests(RecordedBoots boots, ITestOutputHelper output)
{
    private const string Composer = "x86_vector_msi_compose_msg";

    private List<TraceRecord.Hit> Composed => ComposedIn(boots.Plain);

    private static List<TraceRecord.Hit> ComposedIn(Trace trace) => [.. trace.Hits.Where(h => h.Path.Frames[0].Function == Composer)];

    [Fact]
    public void What_gdb_knows_is_known_and_the_same()
    {
        var hits = Composed;
        Assert.Equal(GdbReference.Backtraces.Length, hits.Count);
        var (compared, known, differences) = (0, 0, new List<string>());
        for (var i = 0; i < hits.Count; i++)
        {
            var at = 0;
            foreach (var line in GdbReference.Backtraces[i])
            {
                var match = Frame().Match(line);
                var function = match.Groups["function"].Value;
                var frame = IndexOf(hits[i].Path, function, at);
                if (frame < 0)
                {
                    // Labels of the entry code have several names.
                    continue;
                }

                at = frame + 1;
                foreach (var (name, value) in Arguments(match.Groups["arguments"].Value))
                {
                    var ours = hits[i].ArgumentsOf(frame).FirstOrDefault(a => a.Name == name);
                    known++;
                    if (ours is not { IsKnown: true })
                    {
                        differences.Add($"hit {i + 1}, {function}: {name} is {value:x} for gdb and not known here");
                    }
                    else if (IsTheSameInEveryBoot(value) && ours.Value is { } number)
                    {
                        compared++;
                        if (number != value)
                        {
                            differences.Add($"hit {i + 1}, {function}: {name} is {value:x} for gdb and {number:x} here ({ours.Provenance})");
                        }
                    }
                }
            }
        }

        output.WriteLine($"{known} known to gdb, {compared} compared");
        Assert.True(differences.Count == 0, string.Join("\n", differences));
        Assert.InRange(known, 900, 1000);
        Assert.True(compared > 300, $"only {compared} were compared");
    }

    [Theory]
    [InlineData(true, 92)]

    // Registers and stack alone: what recovery would read elsewhere may have changed when the record is read.
    [InlineData(false, 87)]
    public void At_least_so_many_of_100_arguments_are_known(bool stops, int atLeast)
    {
        var all = ComposedIn(stops ? boots.Stopping : boots.Plain).SelectMany(h => h.Arguments.SelectMany(a => a)).ToList();
        var known = all.Count(a => a.IsKnown);

        output.WriteLine($"{known} of {all.Count}: {100.0 * known / all.Count:0.0} %; {string.Join(", ", all.CountBy(a => a.Provenance).Select(p => $"{p.Key} {p.Value}"))}");
        Assert.True(known * 100L >= all.Count * (long)atLeast, $"{known} of {all.Count}");
    }

    [Fact]
    public void What_frames_of_one_path_say_of_the_same_thing_agrees()
    {
        // The request's number comes down the whole path, by registers, memory and recovery.
        foreach (var hit in Composed.Where(h => h.Path.Frames.Any(f => f.Function == "request_threaded_irq")))
        {
            var numbers = hit.Path.Frames.Select((f, i) => (f.Function, Argument: hit.ArgumentsOf(i).FirstOrDefault(a => a is { Name: "irq", IsKnown: true })))
                .Where(f => f.Function is "request_threaded_irq" or "__setup_irq" or "request_irq" && f.Argument is not null).ToList();
            Assert.True(numbers.Count >= 2);
            Assert.Single(numbers.Select(n => n.Argument!.Value).Distinct());
        }
    }

    [Fact]
    public void Conditions_choose_and_prints_and_returns_tell()
    {
        var run = boots.Program.Run(
            "record", "e1000e-msix", "-o", "prints.ktrace",
            "-b", "request_threaded_irq if irq >= 24 && current->comm == \"ifconfig\" print irq, devname, handler, $rdi, current->comm, &init_task, nosuch return",
            "-b", "x86_vector_msi_compose_msg if data->irq == 26 print data->irq, data->chip->name, *msg return if $pc != 0 print msg->address_lo",
            "-b", "request_threaded_irq if irq > 100000",
            "-b", "e1000_request_msix print adapter->netdev->name, adapter->num_vectors");
        Assert.True(run.ExitCode == 0, run.Errors);
        var trace = Trace.Load(boots.Program.PathOf("prints.ktrace"), keepRegisters: true);
        ILookup<int, TraceRecord.Hit> hits = trace.Hits.ToLookup(h => h.Tracepoint);

        var requests = hits[1].ToList();
        Assert.Equal(["\"eth0-rx-0\"", "\"eth0-tx-0\"", "\"eth0\""], requests.Select(h => Print(h, "devname").Text));
        Assert.Equal(["<e1000_intr_msix_rx>", "<e1000_intr_msix_tx>", "<e1000_msix_other>"], requests.Select(h => Print(h, "handler").Text));
        Assert.All(requests, h =>
        {
            Assert.Equal(Print(h, "irq").Value, Print(h, "$rdi").Value & 0xffffffff);
            Assert.Equal("\"ifconfig\"", Print(h, "current->comm").Text);
            Assert.Contains("init_task", Print(h, "&init_task").Text!, StringComparison.Ordinal);
            Assert.Contains("nosuch", Print(h, "nosuch").Error!, StringComparison.Ordinal);
            Assert.Equal("0", trace.Returns[h.Sequence].Prints.Single().Text);
            Assert.Equal("$ret", trace.Returns[h.Sequence].Prints.Single().Expression);
        });

        // The local APIC's window, arch/x86/include/asm/apicdef.h: every message of an x86 goes there.
        Assert.NotEmpty(hits[2]);
        Assert.All(hits[2], h =>
        {
            Assert.Equal(26UL, Print(h, "data->irq").Value);
            Assert.Equal("\"APIC\"", Print(h, "data->chip->name").Text);
            Assert.Equal(0xfee00000UL, trace.Returns[h.Sequence].Prints.Single().Value & 0xfff00000);
        });
        Assert.Empty(hits[3]);

        // It was inlined into e1000_request_irq, in a module that was loaded later.
        var inlined = Assert.Single(hits[4]);
        Assert.Equal(("e1000_request_msix", true), (inlined.Path.Frames[0].Function, inlined.Path.Frames[0].IsInline));
        Assert.Equal(["\"eth0\"", "3"], inlined.Prints.Select(p => p.Text));
    }

    private static TracePrint Print(TraceRecord.Hit hit, string expression) => hit.Prints.Single(p => p.Expression == expression);

    private static int IndexOf(CallPath path, string function, int from)
    {
        for (var i = from; i < path.Frames.Length; i++)
        {
            if (path.Frames[i].Function == function)
            {
                return i;
            }
        }

        return -1;
    }

    private static bool IsTheSameInEveryBoot(ulong value) => value is < 0x10000 or (>= 0xffffffff80000000 and < 0xffffffffc0000000);

    /// <summary>Names with the values that gdb knows: the value itself, else the one at entry.</summary>
    private static IEnumerable<(string Name, ulong Value)> Arguments(string text)
    {
        var values = new Dictionary<string, ulong?>();
        foreach (Match match in Argument().Matches(text))
        {
            var name = match.Groups["name"].Value;
            ulong? value = match.Groups["value"].Value switch
            {
                "true" => 1,
                "false" => 0,
                ['0', 'x', .. var digits] => ulong.Parse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture),
                var number when ulong.TryParse(number, CultureInfo.InvariantCulture, out var parsed) => parsed,
                _ => null,
            };
            values[name] = values.GetValueOrDefault(name) ?? value;
        }

        return values.Where(v => v.Value is not null).Select(v => (v.Key, v.Value!.Value));
    }

    [GeneratedRegex(@"^#\d+ +(?:0x[0-9a-f]+ in )?(?<function>\S+) \((?<arguments>.*)\) at \S+:\d+$")]
    private static partial Regex Frame();

    // name=0x… <symbol>, name@entry=…, name=name@entry=…, name=<optimized out>
    [GeneratedRegex(@"(?:^|, )(?<name>\w+)(?:@entry)?=(?:\w+@entry=)?(?<value>0x[0-9a-f]+|-?\d+|true|false|<optimized out>)")]
    private static partial Regex Argument();
}

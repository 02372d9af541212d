using System.Collections.Immutable;
using KTrace.Symbols.Dwarf;

namespace KTrace.Tests.Symbols;

/// <summary>Which tail calls are certain, on graphs of functions named by letters: "ab" is a jump in a to b.</summary>
public class TailCallsChainsTests
{
    [Theory]
    [InlineData("called directly", "", "g", "g", "")]
    [InlineData("one jump", "fg", "f", "g", "fg")]
    [InlineData("a chain", "fa ab bg", "f", "g", "fa ab bg")]
    [InlineData("ways that lead elsewhere do not count", "fa fx ag xy", "f", "g", "fa ag")]
    [InlineData("no way at all", "fa ab xg", "f", "g", "")]
    [InlineData("two ways share nothing", "fa fb ag bg", "f", "g", "")]
    [InlineData("two ways share both ends", "fa ab ac bd cd dg", "f", "g", "fa dg")]
    [InlineData("two jumps to one function", "fg fg", "f", "g", "")]
    [InlineData("directly, or by way of another", "fa ag fg", "f", "g", "")]
    [InlineData("a circle may have been gone round", "fa af fg", "f", "g", "fg")]
    [InlineData("a circle that leads nowhere", "fa xy yx ax ag", "f", "g", "fa ag")]
    [InlineData("a function that jumps to itself", "ff fg", "f", "g", "fg")]
    [InlineData("what the function that runs jumps to does not matter", "fg gf gx", "f", "g", "fg")]
    public void Only_what_all_ways_share_is_certain(string what, string jumps, string called, string entered, string expected)
    {
        Assert.True(Find(Graph(jumps), called[0], entered[0]) == expected, what);
    }

    [Fact]
    public void A_jump_to_nobody_knows_where_makes_everything_uncertain()
    {
        var graph = Graph("fa ag fb bc");

        Assert.Equal("", Names(TailCallChains.Find('f', 'g', at => at == 'c' ? null : graph[at].ToList())));
        Assert.Equal("fa ag", Names(TailCallChains.Find('f', 'g', at => graph[at].ToList())));
    }

    [Fact]
    public void What_comes_after_the_function_that_runs_is_not_even_asked_for()
    {
        var graph = Graph("fg gx");

        Assert.Equal("fg", Names(TailCallChains.Find('f', 'g', at => at == 'f' ? graph[at].ToList() : throw new InvalidOperationException($"{at}"))));
    }

    [Fact]
    public void Endlessly_many_functions_end_the_search()
    {
        var asked = 0;
        IReadOnlyList<TailCall> Jumps(ulong at)
        {
            asked++;
            return [new TailCall(at, at + 1, at, at * 2), new TailCall(at, at + 2, at, (at * 2) + 1)];
        }

        Assert.Empty(TailCallChains.Find(1, ulong.MaxValue, Jumps));
        Assert.InRange(asked, 100, 1000);
    }

    /// <summary>
    /// gdb walks every way (call_site_find_chain_1 in gdb/dwarf2/loc.c), and keeps what all of them begin and end with. So does this, slowly, and goes
    /// round circles too, which gdb does not.
    /// </summary>
    [Fact]
    public void Random_graphs_give_what_walking_every_way_gives()
    {
        var random = new Random(20261121);
        var (certain, uncertain) = (0, 0);
        for (var round = 0; round < 4000; round++)
        {
            var count = random.Next(1, 8);
            var jumps = string.Join(' ', Enumerable.Range(0, count).Select(_ => $"{"fabcdg"[random.Next(5)]}{"fabcdg"[random.Next(6)]}"));
            var graph = Graph(jumps);
            var expected = Slowly(graph, 'f', 'g');

            Assert.True(expected == Find(graph, 'f', 'g'), $"{jumps}: expected {expected}, found {Find(graph, 'f', 'g')}");
            (certain, uncertain) = expected.Length > 0 ? (certain + 1, uncertain) : (certain, uncertain + 1);
        }

        Assert.True(certain > 500 && uncertain > 500, $"{certain} and {uncertain}: the graphs are no test");
    }

    private static string Slowly(ILookup<ulong, TailCall> graph, ulong called, ulong entered)
    {
        var ways = new List<TailCall[]>();
        void Walk(ulong at, TailCall[] way)
        {
            if (at == entered)
            {
                ways.Add(way);
                return;
            }

            foreach (var jump in graph[at].Where(jump => way.Count(other => other == jump) < 2))
            {
                Walk(jump.Target, [.. way, jump]);
            }
        }

        Walk(called, []);
        if (ways.Count == 0)
        {
            return "";
        }

        var shortest = ways.Min(way => way.Length);
        var begin = Enumerable.Range(0, shortest).TakeWhile(i => ways.TrueForAll(way => way[i] == ways[0][i])).Count();
        var end = Enumerable.Range(1, shortest).TakeWhile(i => ways.TrueForAll(way => way[^i] == ways[0][^i])).Count();
        return Names([.. ways[0].Take(begin), .. ways[0].TakeLast(Math.Min(end, shortest - begin))]);
    }

    private static string Find(ILookup<ulong, TailCall> graph, ulong called, ulong entered) =>
        Names(TailCallChains.Find(called, entered, at => graph[at].ToList()));

    private static string Names(IEnumerable<TailCall> chain) => string.Join(' ', chain.Select(jump => $"{(char)jump.Function}{(char)jump.Target}"));

    private static ILookup<ulong, TailCall> Graph(string jumps) => jumps.Split(' ', StringSplitOptions.RemoveEmptyEntries)
        .Select((jump, i) => new TailCall(jump[0], (ulong)(1000 + i), (ulong)(999 + i), jump[1]))
        .ToLookup(jump => jump.Function);
}

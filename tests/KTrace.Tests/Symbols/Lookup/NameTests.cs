using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using KTrace.Symbols.Lookup;
using KTrace.Tests.Support;

namespace KTrace.Tests.Symbols.Lookup;

/// <summary>Names of clones, patterns, and Rust's mangled names.</summary>
public sealed class NameTests : IDisposable
{
    private readonly ScratchFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("foo", "foo", "", true)]
    [InlineData("foo.isra.0", "foo", ".isra.0", true)]
    [InlineData("foo.constprop.12", "foo", ".constprop.12", true)]
    [InlineData("foo.part.3", "foo", ".part.3", true)]
    [InlineData("foo.isra.0.cold", "foo", ".isra.0.cold", false)]
    [InlineData("foo.cold", "foo", ".cold", false)]
    [InlineData("foo.cold.7", "foo", ".cold.7", false)]
    [InlineData("foo.llvm.1234567890123", "foo", ".llvm.1234567890123", true)]
    [InlineData("foo.__uniq.42.llvm.7", "foo", ".__uniq.42.llvm.7", true)]
    [InlineData("foo.cfi_jt", "foo", ".cfi_jt", false)]
    [InlineData("__pfx_foo", "foo", "", false)]
    [InlineData("__cfi_foo.cold", "foo", ".cold", false)]
    [InlineData("counter.5", "counter.5", "", true)]
    [InlineData("file.c", "file.c", "", true)]
    [InlineData(".L12", ".L12", "", true)]
    [InlineData("foo.", "foo.", "", true)]
    [InlineData("foo.cold.", "foo.cold.", "", true)]
    [InlineData("", "", "", true)]
    public void A_clone_is_taken_apart_into_the_source_name_and_what_the_compiler_added(string symbol, string source, string suffix, bool isEntry)
    {
        var name = CloneName.Parse(symbol);
        Assert.Equal((source, suffix, isEntry), (name.Source, name.Suffix, name.IsEntry));
        Assert.Equal(symbol, name.Prefix + name.Source + name.Suffix);
    }

    [Theory]
    [InlineData("irq_*", "irq_enable", true)]
    [InlineData("irq_*", "free_irq_x", false)]
    [InlineData("*_irq", "free_irq", true)]
    [InlineData("x?z", "xyz", true)]
    [InlineData("/^irq_(en|dis)able$/", "irq_disable", true)]
    [InlineData("/^irq_(en|dis)able$/", "irq_enabled", false)]
    [InlineData("/irq/", "free_irq_x", true)]
    public void Patterns_are_globs_or_regular_expressions(string pattern, string name, bool matches)
    {
        Assert.True(NamePattern.IsPattern(pattern));
        Assert.True(NamePattern.TryParse(pattern, out var parsed, out _));
        Assert.Equal(matches, parsed.IsMatch(name));
    }

    [Theory]
    [InlineData("/(/")]
    [InlineData("/(a)\\1/")]
    [InlineData("/(?=a)/")]
    public void An_expression_that_cannot_be_matched_in_linear_time_is_refused_with_the_reason(string pattern)
    {
        Assert.False(NamePattern.TryParse(pattern, out _, out var problem));
        Assert.Contains(pattern, problem);
    }

    [Fact]
    public void An_expression_that_backtracks_forever_elsewhere_takes_linear_time()
    {
        Assert.True(NamePattern.TryParse("/^(a+)+$/", out var pattern, out _));
        // With backtracking: 2^1000 steps.
        Assert.False(pattern.IsMatch(new string('a', 1000) + "b"));
    }

    // The examples of rustc's book and of RFC 2603, and what they mean there.
    [Theory]
    [InlineData("_RNvCskwGfYPst2Cb_3foo16example_function", "foo::example_function")]
    [InlineData("_RNvCs1234_7mycrate7example", "mycrate::example")]
    [InlineData("_RNCNvCsgStHSCytQ6I_7mycrate4main0B3_", "mycrate::main::{closure#0}")]
    [InlineData("_RNvMCsno73SFvQKx_1cNtB0_4Type6method", null)]
    [InlineData("_RNvYNtCs1234_7mycrate3FooNtB4_5Trait3bar", "<mycrate::Foo as mycrate::Trait>::bar")]
    [InlineData("_RNvMs_CskwGfYPst2Cb_3fooNtB4_3Bar3baz", "<foo::Bar>::baz")]
    [InlineData("_RNvXs0_CskwGfYPst2Cb_3fooNtB5_3BarNtB5_5Trait3baz", "<foo::Bar as foo::Trait>::baz")]
    [InlineData("_RINvCskwGfYPst2Cb_3foo3barmlE", "foo::bar::<u32, i32>")]
    [InlineData("_RINvCs1_1a1bKj5_E", "a::b::<5>")]
    [InlineData("_RINvCs1_1a1bKan5_E", "a::b::<-5>")]
    [InlineData("_RINvCs1_1a1bKb1_E", "a::b::<true>")]
    [InlineData("_RINvCs1_1a1bKc76_E", "a::b::<'v'>")]
    [InlineData("_RINvCs1_1a1bKc22_E", "a::b::<'\"'>")]
    [InlineData("_RINvCs1_1a1bAhj3_E", "a::b::<[u8; 3]>")]
    [InlineData("_RINvCs1_1a1bTlmEE", "a::b::<(i32, u32)>")]
    [InlineData("_RINvCs1_1a1bTlEE", "a::b::<(i32,)>")]
    [InlineData("_RINvCs1_1a1bRSReE", "a::b::<&[&str]>")]
    [InlineData("_RINvCs1_1a1bQOhE", "a::b::<&mut *mut u8>")]
    [InlineData("_RINvCs1_1a1bFUKCmEuE", "a::b::<unsafe extern \"C\" fn(u32)>")]
    [InlineData("_RINvCs1_1a1bFG_RL0_hEBb_E", null)]
    [InlineData("_RINvCs1_1a1bFG_RL0_hEmE", "a::b::<for<'a> fn(&'a u8) -> u32>")]
    [InlineData("_RINvCs1_1a1bDNtB2_5TraitEL_E", "a::b::<dyn a::Trait>")]
    [InlineData("_RINvCs1_1a1bDINtB2_5TraithEp4ItemmEL_E", "a::b::<dyn a::Trait<u8, Item = u32>>")]
    [InlineData("_RNvCs1_4u_abu8gdel_5qa", null)]
    [InlineData("_RNvCs1_1au8gdel_5qa", "a::gödel")]
    [InlineData("_RNvCs1_1a3foo.llvm.9D1C9369", "a::foo")]
    [InlineData("_RNSCs1_1a4shim3fooB3_", null)]
    [InlineData("_ZN3std2io5stdio6_print17h0123456789abcdefE", "std::io::stdio::_print")]
    [InlineData("_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE", "core::ptr::drop_in_place<alloc::string::String>")]
    [InlineData("_ZN68_$LT$core..fmt..Arguments$u20$as$u20$core..fmt..Display$GT$3fmt17h1f2e3d4c5b6a7980E", null)]
    [InlineData("_ZN3foo3bar17h0123456789abcdefE.llvm.77", "foo::bar")]
    [InlineData("_ZN3foo3barEv", null)]
    [InlineData("_ZN3foo3bar17h1111111111111111E", null)]
    [InlineData("_R", null)]
    [InlineData("_RNvC", null)]
    [InlineData("_RNvCs1_1a99foo", null)]
    [InlineData("schedule", null)]
    [InlineData("_ZL3foo", null)]
    public void Rust_symbols_become_readable_and_others_are_left_alone(string symbol, string? expected)
    {
        if (expected is null && RustName.TryDemangle(symbol, out var unexpected))
        {
            // Where no expectation is written down, binutils must agree that it is one.
            Assert.Equal(CxxFilt([symbol]).Single(), unexpected);
            return;
        }

        Assert.Equal(expected, RustName.TryDemangle(symbol, out var name) ? name : null);
        if (expected is not null)
        {
            Assert.Equal(CxxFilt([symbol.Split(".llvm")[0]]).Single(), name);
        }
    }

    [SkippableTheory]
    [InlineData("v0")]
    [InlineData("legacy")]
    public void What_rustc_writes_is_read_as_binutils_reads_it(string mangling)
    {
        Skip.IfNot(PeerProgram.IsInstalled("rustc"), "rustc is not installed");
        var source = _folder.File("lib.rs");
        File.WriteAllText(source, """
            use std::collections::BTreeMap;
            use std::fmt::{Debug, Display};
            pub trait Shape { type Unit; fn area(&self) -> f64; fn scale<'a>(&'a mut self, by: &'a f64) -> &'a mut Self where Self: Sized; }
            pub struct Square<const N: usize>(pub f64);
            pub struct Pair<A, B>(pub A, pub B);
            impl<const N: usize> Shape for Square<N> { type Unit = u8; fn area(&self) -> f64 { self.0 * N as f64 } fn scale<'a>(&'a mut self, by: &'a f64) -> &'a mut Self { self.0 *= *by; self } }
            impl<A: Debug, B: Display> Pair<A, B> { #[inline(never)] pub fn show(&self) -> String { format!("{:?} {}", self.0, self.1) } }
            #[inline(never)] pub fn apply<F: Fn(u32) -> u32>(f: F, n: u32) -> u32 { f(n) + 1 }
            #[inline(never)] pub fn dynamic(s: &dyn Shape<Unit = u8>) -> f64 { s.area() }
            #[inline(never)] pub fn pointers<T>(a: *const T, b: *mut [T; 4], c: (u8, i128), d: fn(&str) -> !) -> bool { let _ = (b, c, d); a.is_null() }
            #[inline(never)] pub fn constants<const B: bool, const C: char, const I: i16>() -> u32 { B as u32 + C as u32 + I as u32 }
            pub mod größe { #[inline(never)] pub fn maß(x: u64) -> u64 { x.wrapping_mul(3) } }
            extern "C" fn callback(x: i32) -> i32 { x + 1 }
            #[no_mangle] pub extern "C" fn plain(x: i32) -> i32 { callback(x) }
            #[no_mangle] pub fn entry(n: u32) -> String {
                let k = n; let mut m = BTreeMap::new(); m.insert(n, größe::maß(n as u64)); let mut s = Square::<7>(1.5); s.scale(&2.0);
                fn never(s: &str) -> ! { panic!("{}", s) }
                pointers(&n as *const u32, std::ptr::null_mut(), (1, 2), never);
                let x = apply(|v| v * k, n) + apply(|v| v + 2, n) + constants::<true, 'ß', { -5 }>();
                format!("{} {} {:?} {}", Pair(n, "a").show(), Pair(vec![1u8], 'c').show(), m, dynamic(&s) + x as f64)
            }
            """);
        var objectFile = _folder.File("lib.o");
        var extra = mangling == "legacy" ? new[] { "-Z", "unstable-options" } : [];
        var start = new ProcessStartInfo("rustc", ["--edition=2021", "--crate-type=lib", "--emit=obj", "-C", "symbol-mangling-version=" + mangling, .. extra, "-o", objectFile, source])
        {
            RedirectStandardError = true,
        };
        start.Environment["RUSTC_BOOTSTRAP"] = "1";
        using (var rustc = Process.Start(start)!)
        {
            var errors = rustc.StandardError.ReadToEnd();
            rustc.WaitForExit();
            Assert.True(rustc.ExitCode == 0, errors);
        }

        var symbols = PeerProgram.Run("nm", ["--no-demangle", "-j", objectFile]).Split('\n').Where(s => s.StartsWith("_R", StringComparison.Ordinal) || s.StartsWith("_ZN", StringComparison.Ordinal)).ToList();
        Assert.True(symbols.Count > 30, $"{symbols.Count} symbols");
        var truth = CxxFilt(symbols);
        for (var i = 0; i < symbols.Count; i++)
        {
            Assert.True(RustName.TryDemangle(symbols[i], out var name), symbols[i]);
            // binutils leaves letters beyond ASCII as they are mangled; rustc's own demangler does not.
            Assert.Equal((symbols[i], truth[i].Replace("\\u{df}", "ß").Replace("$uf6$", "ö").Replace("$udf$", "ß")), (symbols[i], name));
        }
    }

    [Fact]
    public void Damaged_names_end_in_bounded_time_and_never_throw()
    {
        string[] seeds =
        [
            "_RNvMs_CskwGfYPst2Cb_3fooNtB4_3Bar3baz", "_RINvCs1_1a1bDINtB2_5TraithEp4ItemmEL_E", "_RINvCs1_1a1bFG_RL0_hEmE", "_RNvCs1_1au8gdel_5qa",
            "_ZN4core3ptr42drop_in_place$LT$alloc..string..String$GT$17h0123456789abcdefE", "_RINvCs1_1a1bKc76_TTTTlEEEEE",
        ];
        var random = new Random(2603);
        for (var i = 0; i < 20000; i++)
        {
            var bytes = Mutation.OfBytes(Encoding.ASCII.GetBytes(seeds[random.Next(seeds.Length)]), random);
            if (RustName.TryDemangle(Encoding.Latin1.GetString(bytes), out var name))
            {
                Assert.InRange(name.Length, 1, 5000);
            }
        }
    }

    [Theory]
    [InlineData("_RNvC1a", 1)]
    [InlineData("_RI", 4000)]
    [InlineData("_RIC1aTTTTTTTTTT", 300)]
    public void Names_that_nest_without_end_are_refused(string start, int repeat) =>
        Assert.False(RustName.TryDemangle(start + string.Concat(Enumerable.Repeat("TB2_B2_E", repeat)), out _));

    /// <summary>c++filt shows crate hashes and the types of constants as well; neither is of use to people.</summary>
    private static List<string> CxxFilt(IReadOnlyList<string> symbols) =>
        [.. PeerProgram.Run("c++filt", ["--format=rust"], string.Join('\n', symbols) + "\n").TrimEnd('\n').Split('\n')
            .Select(s => Regex.Replace(Regex.Replace(s, @"(?<=[\w])\[[0-9a-f]+\]", ""), @": (?:[ui](?:8|16|32|64|128|size)|bool|char)(?=[,>\]])", ""))
            .Select(s => Regex.Replace(s, @"::h[0-9a-f]{16}$", ""))];
}

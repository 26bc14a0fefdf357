"""What tests share and no test is: generators of pages, rules of words."""

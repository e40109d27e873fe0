int storm_placeholder_storm;
int main(void){return 0;}
